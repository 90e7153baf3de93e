"""What an answer sees: against torch's own KL, a slow independent computation, and twins."""

from pathlib import Path
from typing import Any

import pytest
import torch
from kl_rounding import kl_rounding, sensitive
from tiny_families import tiny_family
from tiny_plans import random_tiny_plan, tiny_model
from torch import Tensor
from torch.nn import functional

from ffbench.evaluation import fidelity
from ffbench.methods.plan import SparsePlan
from ffbench.models import sparse_model
from ffbench.models.adapters import gated_ffns
from ffbench.models.forward import ForwardError, attribute, check_logits, last_hidden, logits_of
from ffbench.models.sparse_prefill import sparse_prefill

CONTEXT, TAIL = 96, 40


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model()


def case_of(seed: int = 0, judges_prompt: bool = True) -> fidelity.Case:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 259, (CONTEXT + TAIL + 1,), generator=generator)
    return fidelity.text_case(
        "text",
        f"document {seed}",
        ids,
        CONTEXT,
        ("continuation", "copy"),
        judges_prompt=judges_prompt,
    )


def test_metrics_equal_torchs_own(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fidelity, "CHUNK", 8)
    generator = torch.Generator().manual_seed(0)
    dense, sparse = (torch.randn(37, 64, generator=generator) for _ in range(2))
    ids = torch.randint(259, (37,), generator=generator)
    with torch.no_grad():
        metrics = fidelity.compare(model, dense, sparse, ids)
        p, q = (model.lm_head(side).double().log_softmax(-1) for side in (dense, sparse))
    kl = functional.kl_div(q, p, log_target=True, reduction="batchmean").item()
    assert metrics["kl"] == pytest.approx(kl, rel=1e-5)
    assert metrics["nll_dense"] == pytest.approx(functional.nll_loss(p, ids).item(), rel=1e-5)
    assert metrics["nll_sparse"] == pytest.approx(functional.nll_loss(q, ids).item(), rel=1e-5)
    same = (p.argmax(-1) == q.argmax(-1)).double().mean().item()
    assert metrics["top1_agreement"] == pytest.approx(same)


@torch.no_grad()
def slow_kl(model: Any, plan: SparsePlan, case: fidelity.Case, name: str) -> float:
    """Whole forwards without a cache: the prompt's tokens sparse by the plan, the tail's dense."""
    tail = case.tails[name]
    ids = torch.cat([case.prompt, tail.ids[:-1]]).unsqueeze(0)
    dense = model(ids, use_cache=False).logits[0].double().log_softmax(-1)
    with sparse_prefill(model, plan, "reference") as prefill:
        prefill.dense_from = [CONTEXT - plan.settings.last_dense]
        sparse = model(ids, use_cache=False).logits[0].double().log_softmax(-1)
    at = slice(CONTEXT + tail.judged_from, None)
    return (dense[at].exp() * (dense[at] - sparse[at])).sum(-1).mean().item()


def test_all_cases_share_one_preparation(
    model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan, cases, made = random_tiny_plan(model), [case_of(seed) for seed in range(3)], []

    class Counted(sparse_model.SparseFFN):
        def __init__(self, *given: Any) -> None:
            made.append(given)
            super().__init__(*given)

    monkeypatch.setattr(sparse_model, "SparseFFN", Counted)
    fidelity.save_dense(model, cases, tmp_path)
    fidelity.measure(model, plan, cases, tmp_path, "torch")
    assert len(made) == len(plan.layers)


@pytest.mark.parametrize("selector", ["trained", "oracle"])
def test_answers_against_whole_forwards(selector: str, tmp_path: Path) -> None:
    model = sensitive(tiny_model())
    plan = random_tiny_plan(model, selector=selector, sparsity=0.8)
    cases = [case_of(0), case_of(1, judges_prompt=False)]
    fidelity.save_dense(model, cases, tmp_path)
    measured = fidelity.measure(model, plan, cases, tmp_path, "torch")
    rows = {(row.document, row.tail): row for row in measured.rows}
    assert len(rows) == 5
    for case in cases:
        for name in ("continuation", "copy"):
            row = rows[case.document, name]
            expected, allowed = (
                slow_kl(model, plan, case, name),
                kl_rounding(model, case.prompt, row.kl),
            )
            assert allowed < expected / 100
            assert row.kl == pytest.approx(expected, abs=allowed)
            assert row.tokens == len(case.tails[name].ids) - 1 - case.tails[name].judged_from
    assert rows["document 0", "prompt"].tokens == CONTEXT - 1
    assert measured.density == pytest.approx(1 - 0.8 * 64 / CONTEXT, abs=1e-6)


def test_the_last_layers_ffn_reaches_no_answer(model: Any) -> None:
    """Set to zero on every token of the prompt, it changes no prediction after the prompt."""
    case = case_of(2)
    with torch.no_grad():
        dense = fidelity.hidden_states(model, case)
        module: Any = gated_ffns(model)[-1].module
        plain = module.forward

        def without_prompt(x: Tensor) -> Tensor:
            return torch.zeros_like(x) if x.shape[1] == CONTEXT else plain(x)

        with attribute(module, "forward", without_prompt):
            zero = fidelity.hidden_states(model, case)
        for name in ("continuation", "copy"):
            wanted = fidelity.targets(case, name)
            assert torch.equal(dense[name], zero[name])
            assert fidelity.compare(model, dense[name], zero[name], wanted)["kl"] == 0
        assert not torch.allclose(dense["prompt"], zero["prompt"])


def test_a_dense_plan_changes_nothing(model: Any, tmp_path: Path) -> None:
    plan, case = random_tiny_plan(model, sparsity=0.0), case_of()
    fidelity.save_dense(model, [case], tmp_path)
    measured = fidelity.measure(model, plan, [case], tmp_path, "torch")
    allowed = kl_rounding(model, case.prompt, 0.0)
    assert all(row.kl == pytest.approx(0, abs=allowed) for row in measured.rows)
    assert all(row.nll_increase == pytest.approx(0, abs=1e-4) for row in measured.rows)
    assert measured.density == 1


def test_a_copy_is_taken_from_the_sparse_tokens() -> None:
    case = case_of()
    copied = case.tails["copy"]
    assert any(
        torch.equal(case.prompt[start : start + len(copied.ids)], copied.ids)
        for start in range(16, CONTEXT - 16 - len(copied.ids) + 1)
    )
    assert copied.judged_from == 16 and len(fidelity.targets(case, "copy")) == len(copied.ids) - 17
    with pytest.raises(ValueError, match="has no tail"):
        fidelity.text_case("t", "d", torch.arange(5), 4, ())


# families that do something to their logits, as transformers calls them
SCALED: dict[str, dict[str, Any]] = {
    "granite": {"logits_scaling": 8.0},
    "gemma2": {"final_logit_softcapping": 3.0, "query_pre_attn_scalar": 16},
    "gemma3_text": {"final_logit_softcapping": 0.5},
    "cohere": {"logit_scale": 0.25},
    "cohere2": {"logit_scale": 0.25},
}


@pytest.mark.parametrize("name", SCALED)
@torch.no_grad()
def test_logits_are_the_models_own(name: str, model: Any) -> None:
    twin, ids = tiny_family(name, **SCALED[name]), torch.arange(5, 45)
    whole = twin(ids.unsqueeze(0)).logits[0]
    parts = logits_of(twin, last_hidden(twin, ids))
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-5)
    plain = last_hidden(twin, ids) @ twin.lm_head.weight.T
    assert (plain - whole).abs().max() > 1e-3
    check_logits(twin)
    check_logits(model)
    assert "forward" not in vars(twin.model)


@torch.no_grad()
def test_a_logit_scale_changes_the_kl_as_it_changes_the_model(model: Any) -> None:
    """A model whose head is three times larger has the KL of one that scales its logits by three."""

    class Scaled(type(model)):  # type: ignore[misc]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            output = super().forward(*args, **kwargs)
            output.logits = output.logits * 3
            return output

    scaled, larger = tiny_model(), tiny_model()
    scaled.__class__ = Scaled
    larger.lm_head.weight = torch.nn.Parameter(larger.lm_head.weight * 3)
    generator = torch.Generator().manual_seed(0)
    dense, sparse = (torch.randn(9, 64, generator=generator) for _ in range(2))
    kls = [fidelity.compare(m, dense, sparse, torch.arange(9))["kl"] for m in (scaled, larger)]
    assert kls[0] == pytest.approx(kls[1], rel=1e-5)
    assert kls[0] != pytest.approx(fidelity.compare(model, dense, sparse, torch.arange(9))["kl"])


def test_a_model_that_mixes_its_logits_over_tokens_is_refused(model: Any) -> None:
    mixing = tiny_model()

    class Mixing(type(model)):  # type: ignore[misc]
        def forward(self, input_ids: Any = None, **kwargs: Any) -> Any:
            output = super().forward(input_ids, **kwargs)
            if input_ids is not None:
                output.logits = output.logits + input_ids[..., None]
            return output

    mixing.__class__ = Mixing
    with pytest.raises(ForwardError, match="model type 'llama'"):
        check_logits(mixing)


def test_a_model_that_needs_more_than_hidden_states_for_its_logits_is_refused(model: Any) -> None:
    needing = tiny_model()

    class Needing(type(model)):  # type: ignore[misc]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            output = super().forward(*args, **kwargs)
            if kwargs.get("inputs_embeds") is not None:
                raise AttributeError("no attribute 'shared_kv_states'")
            return output

    needing.__class__ = Needing
    with pytest.raises(ForwardError, match="AttributeError: no attribute 'shared_kv_states'"):
        check_logits(needing)
