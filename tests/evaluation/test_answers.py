"""Answers of tiny models: against generate and one forward pass, batched against alone, stopped and
taken up again."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from card_counts import Watch
from simulated_card import on_card, simulated_card
from small_plans import small_settings

from ffbench.evaluation import answers as module
from ffbench.evaluation.answers import Protocol, evaluate
from ffbench.evaluation.chat_template import PromptError
from ffbench.evaluation.decoding import Decoder, Ending
from ffbench.evaluation.prompts import PromptIds, gold_ids, prompt_ids
from ffbench.models.loading import ModelSpec, load_model
from ffbench.models.random_models import random_plan
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.models.tiny import FAMILIES
from ffbench.runs.answers import AnswerLog
from ffbench.tasks.base import TaskRecord, TaskSpec

RECORDS = [
    TaskRecord(
        f"r{i}", "t", "The cat sat on the mat. " * (3 + 4 * i), "Who sat?", ("cat " * (i + 1),)
    )
    for i in range(5)
]
SETTINGS = small_settings(16)


def spec(stop: str = "end") -> TaskSpec:
    return TaskSpec(
        name="t",
        category="c",
        metric="m",
        max_new_tokens=12,
        load=lambda limit: [],
        score=lambda text, record: float(len(text)),
        chance=lambda records: None,
        stop=stop,
    )


@pytest.fixture(scope="module", params=FAMILIES)
def tiny(request: pytest.FixtureRequest) -> tuple:
    return load_model(ModelSpec("tiny", "tiny", request.param))


def answers(tiny: tuple, path: Path, **options: Any) -> list[dict[str, Any]]:
    plan = options.pop("plan", None)
    protocol = Protocol(400, options.pop("batch_size", 1), options.pop("name", "whole"), "torch")
    return evaluate(
        *tiny,
        plan,
        [(spec(), options.pop("records", RECORDS))],
        AnswerLog(path / "a.jsonl"),
        protocol,
    )


def test_answer_equals_generate_and_one_forward_pass(tiny: tuple, tmp_path: Path) -> None:
    model, tokenizer = tiny
    found = answers(tiny, tmp_path, records=RECORDS[:1])[0]
    prompt, gold = (
        prompt_ids(tokenizer, spec(), RECORDS[0], 400).ids,
        gold_ids(tokenizer, spec(), RECORDS[0]),
    )
    assert prompt[0] == tokenizer.bos_token_id and prompt.count(1) == 1
    out = model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)[
        0, len(prompt) :
    ]
    assert found["prediction"] == tokenizer.decode(out)
    rows = model(torch.tensor([prompt + gold])).logits[0, len(prompt) - 1 : -1]
    assert found["nll"] == pytest.approx(
        float(torch.nn.functional.cross_entropy(rows, torch.tensor(gold))), abs=1e-5
    )


@pytest.mark.parametrize("name", ["whole", "context"])
def test_the_plan_acts_on_prompts_only(tiny: tuple, tmp_path: Path, name: str) -> None:
    model, tokenizer = tiny
    plan = random_plan(model, SETTINGS)
    found = answers(tiny, tmp_path, plan=plan, name=name, records=RECORDS[1:2])[0]
    prompt, gold = (
        prompt_ids(tokenizer, spec(), RECORDS[1], 400),
        gold_ids(tokenizer, spec(), RECORDS[1]),
    )
    assert tokenizer.decode(prompt.ids[prompt.question_at :]) == "Who sat?"
    with sparse_prefill(model, plan, "torch") as state:
        state.dense_from = [prompt.question_at] if name == "context" else None
        first = model(torch.tensor([prompt.ids]), use_cache=True)
    rest = model(torch.tensor([gold[:-1]]), past_key_values=first.past_key_values).logits[0]
    rows = torch.cat([first.logits[0, -1:], rest])
    assert found["nll"] == pytest.approx(
        float(torch.nn.functional.cross_entropy(rows, torch.tensor(gold))), abs=1e-4
    )
    assert found["density"] == pytest.approx(state.density) and state.density < 1


@pytest.mark.parametrize("sparse", [False, True])
def test_a_batch_gives_what_each_prompt_gives_alone(
    tiny: tuple, tmp_path: Path, sparse: bool
) -> None:
    plan = random_plan(tiny[0], SETTINGS) if sparse else None
    alone = answers(tiny, tmp_path / "1", plan=plan)
    batched = {
        one["record_id"]: one for one in answers(tiny, tmp_path / "3", plan=plan, batch_size=3)
    }
    for one in alone:
        other = batched[one["record_id"]]
        assert one["nll"] == pytest.approx(other["nll"], abs=1e-4)
        assert one["prediction"] == other["prediction"]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_cut_log_is_taken_up_without_loss_or_repetition(
    tiny: tuple, tmp_path: Path, batch_size: int
) -> None:
    whole = answers(tiny, tmp_path / "whole", batch_size=batch_size)
    lines = (tmp_path / "whole" / "a.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "a.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:20])
    again = answers(tiny, tmp_path / "cut", batch_size=batch_size)
    for one in whole + again:
        del one["seconds"]
    assert again == whole


def test_stop_ids_are_held_back_for_the_least_number_of_tokens() -> None:
    model, tokenizer = load_model(ModelSpec("tiny", "tiny", "llama"))
    decoder, prompt = Decoder(model, 0), PromptIds(tokenizer.encode("abc"), 0, 0)
    best = decoder.prefill([prompt]).logits[0].topk(2).indices.tolist()
    assert decoder.greedy(
        decoder.prefill([prompt]), [Ending({best[0]}, 4, 0, lambda ids: False)]
    ) == [[]]
    kept = decoder.greedy(decoder.prefill([prompt]), [Ending({best[0]}, 4, 1, lambda ids: False)])[
        0
    ]
    assert kept[0] == best[1]
    assert best[0] not in kept
    assert (
        len(
            decoder.greedy(
                decoder.prefill([prompt]), [Ending(set(), 9, 0, lambda ids: len(ids) == 2)]
            )[0]
        )
        == 2
    )


def test_a_batch_costs_one_read_per_token_on_a_card() -> None:
    model = on_card(load_model(ModelSpec("tiny", "tiny", "llama"))[0])
    prompts, reads = [PromptIds([1, 5 + i, 9], 0, 0) for i in range(3)], []
    for limit in (3, 5):
        rule = Ending({2}, limit, limit, lambda ids: False)
        with simulated_card(), torch.no_grad():
            decoder = Decoder(model, 0)
            state = decoder.prefill(prompts)
            with Watch() as watch:
                answers = decoder.greedy(state, [rule] * len(prompts))
        assert [len(ids) for ids in answers] == [limit] * len(prompts)
        reads.append(sum(watch.outside.reads.values()))
    assert reads == [3, 5]


def test_gold_likelihoods_without_decoding(
    tiny: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = answers(tiny, tmp_path / "whole")

    def decodes(*arguments: Any) -> None:
        raise AssertionError("nothing is to be decoded")

    monkeypatch.setattr(Decoder, "greedy", decodes)
    log, work = AnswerLog(tmp_path / "gold.jsonl"), [(spec(), RECORDS)]
    found = evaluate(*tiny, None, work, log, Protocol(400, 1, "whole", "torch", decode=False))
    assert [row["nll"] for row in found] == [row["nll"] for row in whole]
    assert {row["prediction"] for row in found} == {None} == {row["score"] for row in found}
    assert set(found[0]) == set(whole[0])


def test_prompts_too_short_to_be_sparse_are_told_once(
    tiny: tuple, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = random_plan(tiny[0], SETTINGS)
    short = [TaskRecord(f"s{i}", "t", "Only a few words.", "", ("x",)) for i in range(2)]
    found = answers(tiny, tmp_path / "mixed", plan=plan, records=[*short, RECORDS[4]])
    assert [row["density"] for row in found][:2] == [1, 1] and found[2]["density"] < 1
    (record,) = [r for r in caplog.records if "ran dense" in r.message]
    assert "2 of 3 prompts ran dense although a plan was given" in record.message
    caplog.clear()
    answers(tiny, tmp_path / "long", plan=plan, records=RECORDS[4:])
    answers(tiny, tmp_path / "dense", records=short)
    assert not caplog.records


def test_a_scorer_that_fails_does_not_end_the_evaluation(tiny: tuple, tmp_path: Path) -> None:
    def fails(text: str, record: TaskRecord) -> float:
        raise RecursionError("maximum recursion depth exceeded")

    log = AnswerLog(tmp_path / "a.jsonl")
    work = [(replace(spec(), score=fails), RECORDS[:2])]
    found = evaluate(*tiny, None, work, log, Protocol(400, 1, "whole", "torch"))
    assert [row["score"] for row in found] == [0.0, 0.0]
    reason = "RecursionError: maximum recursion depth exceeded"
    assert [row["score_error"] for row in found] == [reason, reason]


def test_an_evaluation_that_fails_leaves_no_file_open(
    tiny: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [module.answer]  # one that works

    def failing(*given: Any) -> list[dict[str, Any]]:
        return calls.pop()(*given)

    monkeypatch.setattr(module, "answer", failing)
    opened = len(os.listdir("/proc/self/fd"))
    with pytest.raises(IndexError):
        answers(tiny, tmp_path)
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 1
    assert len(os.listdir("/proc/self/fd")) == opened


def test_more_positions_than_the_model_knows_are_refused(tiny: tuple, tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="task.max_length=4097: the model knows 4096 positions"):
        evaluate(*tiny, None, [], AnswerLog(tmp_path / "a.jsonl"), Protocol(4097))
