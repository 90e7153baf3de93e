"""The model `ffbench` on any lm-eval request: dense it equals `hf`, with a plan only prompts
change."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lm_eval")

from lm_eval.api.instance import Instance
from lm_eval.api.model import CacheHook, CachingLM
from lm_eval.models.huggingface import HFLM
from small_plans import small_settings

from ffbench.evaluation.decoding import Decoder
from ffbench.integrations.lm_eval.model import FFBenchLM
from ffbench.methods.plan import PlanError
from ffbench.models.random_models import random_plan
from ffbench.models.sparse_prefill import sparse_prefill

TEXT = "The quick brown fox jumps over the lazy dog. " * 5
PAIRS = [(TEXT, " yes"), (TEXT, " no, never"), ("Short.", " x"), ("", "alone")]


def requests(kind: str, arguments: list[tuple]) -> list[Instance]:
    return [
        Instance(kind, {}, one, 0, metadata=("some_task", i, 1)) for i, one in enumerate(arguments)
    ]


def build(cls: type, folder: Path, **options: Any) -> Any:
    return cls(
        pretrained=str(folder), device="cpu", dtype="float32", **({"max_length": 600} | options)
    )


@pytest.fixture(scope="module")
def both(model_folder: Path) -> tuple[FFBenchLM, HFLM]:
    return build(FFBenchLM, model_folder, batch_size=3), build(HFLM, model_folder)


@pytest.fixture(scope="module")
def plan_folder(both: tuple, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    random_plan(both[0].model, small_settings(32)).save(folder)
    return folder


def test_dense_likelihoods_equal_hf(both: tuple) -> None:
    ours, hf = (
        model.loglikelihood(requests("loglikelihood", PAIRS), disable_tqdm=True) for model in both
    )
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in hf]
    assert [score for score, _ in ours] == pytest.approx([score for score, _ in hf], abs=1e-3)


def test_dense_texts_equal_hf(both: tuple) -> None:
    asked = [(TEXT,), ("short",), (TEXT * 4,)]
    ours, hf = (
        model.loglikelihood_rolling(requests("loglikelihood_rolling", asked), disable_tqdm=True)
        for model in both
    )
    assert ours == pytest.approx(hf, rel=1e-5)


def test_dense_answers_equal_hf(both: tuple) -> None:
    said = both[1].generate_until(
        requests("generate_until", [(TEXT, {"max_gen_toks": 9, "until": []})]), disable_tqdm=True
    )[0]
    asked = [
        (TEXT, {"max_gen_toks": 9, "until": []}),
        ("Other", {"max_gen_toks": 4, "until": ["zz"], "do_sample": False}),
        (TEXT, {"max_gen_toks": 9, "until": [said[3]]}),
    ]
    ours, hf = (
        model.generate_until(requests("generate_until", asked), disable_tqdm=True) for model in both
    )
    assert ours == hf and ours[2] == said.split(said[3])[0] and len(ours[0]) > len(ours[2])


def test_a_plan_changes_prompts_only(both: tuple, model_folder: Path, plan_folder: Path) -> None:
    model = build(FFBenchLM, model_folder, plan=str(plan_folder), backend="torch")
    ((score, _),) = model.loglikelihood(requests("loglikelihood", PAIRS[:1]), disable_tqdm=True)
    ids, said = model._encode_pair(*PAIRS[0])
    with sparse_prefill(model.model, model.plan, "torch"):
        first = model.model(torch.tensor([ids]), use_cache=True)
    rest = model.model(torch.tensor([said[:-1]]), past_key_values=first.past_key_values).logits[0]
    rows = torch.cat([first.logits[0, -1:], rest]).log_softmax(-1)
    assert score == pytest.approx(
        float(rows.gather(1, torch.tensor(said)[:, None]).sum()), abs=1e-3
    )
    dense = both[0].loglikelihood(requests("loglikelihood", PAIRS[:1]), disable_tqdm=True)[0][0]
    assert abs(score - dense) > 1e-4
    texts = [
        one.loglikelihood_rolling(requests("loglikelihood_rolling", [(TEXT,)]), disable_tqdm=True)[
            0
        ]
        for one in (model, both[0])
    ]
    assert texts[0] != pytest.approx(texts[1], abs=1e-3)


def test_long_prompts_lose_their_middle_and_templates_stay_whole(both: tuple) -> None:
    model = both[0]
    said = model.apply_chat_template([{"role": "user", "content": "<" + TEXT * 9 + ">"}])
    prompt = model.framed(said, 100)
    text = model.tokenizer.decode(prompt.ids)
    assert (
        len(prompt.ids) == 500
        and text.startswith("<s>[user]<The")
        and text.endswith("dog. >[assistant]")
    )
    raw = model.framed(TEXT * 9, 100)
    assert len(raw.ids) == 500 and raw.ids[0] == 1 and raw.ids.count(1) == 1
    assert model.framed("<s>" + TEXT, 9).ids.count(1) == 1
    score = model.loglikelihood(
        requests("loglikelihood", [(TEXT * 20, " end")]), disable_tqdm=True
    )[0][0]
    assert score < 0


def test_prompts_too_short_to_be_sparse_are_told(
    model_folder: Path, plan_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = build(FFBenchLM, model_folder, plan=str(plan_folder), backend="torch")
    model.loglikelihood(requests("loglikelihood", PAIRS), disable_tqdm=True)
    # Of the three contexts (two requests share one), only the long one has a sparse block.
    assert "2 of 3 prompts ran dense although a plan was given" in caplog.text
    caplog.clear()
    model.loglikelihood(requests("loglikelihood", PAIRS[:2]), disable_tqdm=True)
    assert "ran dense" not in caplog.text


def test_a_plan_of_another_model_is_refused(model_folder: Path, plan_folder: Path) -> None:
    with pytest.raises(PlanError, match="made for"):
        build(FFBenchLM, model_folder, plan=str(plan_folder), model_name="tiny")


def test_a_stopped_run_goes_on_from_lm_evals_cache(
    both: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, options = both[0], {"max_gen_toks": 4, "until": []}
    asked = requests(
        "generate_until",
        [("one", options), ("two", options), ("three", options), ("four", options)],
    )
    whole = model.generate_until(asked, disable_tqdm=True)
    prefill, calls = Decoder.prefill, []

    def stop_at_the_second(self: Decoder, prompts: list) -> Any:
        calls.append(len(prompts))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return prefill(self, prompts)

    cached = CachingLM(model, str(tmp_path / "answers"))
    monkeypatch.setattr(Decoder, "prefill", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        cached.generate_until(asked)
    assert cached.generate_until(asked) == whole
    assert calls == [3, 1, 1]
    model.set_cache_hook(CacheHook(None))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"protocol": "half"}, "protocol: 'half' is unknown"),
        ({"enable_thinking": True}, "thinking off"),
        ({"batch_size": "auto"}, "batch_size: give a number"),
    ],
)
def test_bad_arguments(model_folder: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build(FFBenchLM, model_folder, **options)


def test_bad_requests(both: tuple, model_folder: Path) -> None:
    with pytest.raises(ValueError, match="decodes greedily"):
        both[0].generate_until(
            requests("generate_until", [("x", {"do_sample": True, "temperature": 0.7})])
        )
    with pytest.raises(ValueError, match="protocol=context: only the tasks"):
        build(FFBenchLM, model_folder, protocol="context").loglikelihood(
            requests("loglikelihood", PAIRS)
        )
    with pytest.raises(ValueError, match="max_length=600"):
        both[0].generate_until(
            requests("generate_until", [("x", {"max_gen_toks": 600, "until": []})])
        )


def test_lm_evals_own_models_stay_known() -> None:
    from lm_eval.api.registry import get_model

    from ffbench.integrations.lm_eval import register

    register()
    register()
    assert get_model("hf") is HFLM and get_model("ffbench") is FFBenchLM
    assert get_model("dummy").__module__ == "lm_eval.models.dummy"


def test_empty_continuations_are_refused_as_lm_eval_does(both: tuple) -> None:
    from ffbench.evaluation.chat_template import PromptError

    empty = [(("context", ""), [5, 6], [])]
    with pytest.raises(AssertionError):
        both[1]._loglikelihood_tokens(empty, disable_tqdm=True)
    with pytest.raises(PromptError, match="encodes the continuation '' to nothing"):
        both[0]._loglikelihood_tokens(empty, disable_tqdm=True)
    with pytest.raises(PromptError, match="has no tokens"):
        both[0]._loglikelihood_tokens([(("", "x"), [], [7])], disable_tqdm=True)
    with pytest.raises(PromptError, match="has 601 tokens, more than max_length=600"):
        both[0]._loglikelihood_tokens([(("c", "x"), [5], [7] * 601)], disable_tqdm=True)


@pytest.mark.parametrize("context", [589, 590, 591])
def test_the_windows_edge_is_that_of_hf(both: tuple, context: int) -> None:
    """Context and continuation of max_length + 1 tokens fit: the last one is never read."""
    ids = [(7 * place) % 250 + 5 for place in range(context + 10)]
    request = [(("c", "x"), ids[:context], ids[context:])]
    ours, hf = (model._loglikelihood_tokens(request, disable_tqdm=True)[0] for model in both)
    assert ours[1] == hf[1] and ours[0] == pytest.approx(hf[0], abs=1e-3)


def test_texts_at_the_windows_edge_equal_hf(both: tuple) -> None:
    asked = [("x" * length,) for length in (599, 600, 601, 1199, 1201)]
    ours, hf = (
        model.loglikelihood_rolling(requests("loglikelihood_rolling", asked), disable_tqdm=True)
        for model in both
    )
    assert ours == pytest.approx(hf, rel=1e-5)
