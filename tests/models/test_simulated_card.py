"""Every step with the model on another device: a mix of devices fails, and results are the CPU's."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from simulated_card import CARD, CardTensor, on_card, simulated_card
from tiny_plans import plan_settings, prompt, random_tiny_plan, tiny_model
from tiny_stages import FolderCache, built_plan, random_windows

from ffbench.evaluation import fidelity
from ffbench.evaluation.selection import selection_metrics
from ffbench.methods.chosen import selector_defaults
from ffbench.methods.compensators import COMPENSATORS
from ffbench.methods.plan import SparsePlan
from ffbench.methods.schedulers import SCHEDULERS
from ffbench.methods.token_rules import TOKEN_RULES
from ffbench.models.sparse_prefill import sparse_prefill


@pytest.fixture(scope="module")
def cpu() -> Any:
    return tiny_model()


def test_a_mix_of_devices_fails() -> None:
    with simulated_card():
        card = torch.ones(3, device=CARD)
        assert isinstance(card, CardTensor) and (card + 1).device == CARD
        assert card.cpu().device.type == "cpu" and card.sum().item() == 3
        assert card.tolist() == [1, 1, 1] and (card + torch.tensor(1.0)).device == CARD
        for mixed in (
            lambda: card + torch.ones(3),
            lambda: torch.ones(3)[card.long()],
            lambda: card.index_select(0, torch.tensor([0])),
            lambda: torch.rand(3, generator=torch.Generator(), device=CARD),
        ):
            with pytest.raises(RuntimeError):
                mixed()


@torch.no_grad()
def prefilled(cpu: Any, plan: SparsePlan) -> None:
    """Prefill on the card gives the CPU's logits."""
    ids = prompt(70)
    with sparse_prefill(cpu, plan, "torch"):
        expected = cpu(ids).logits
    model = on_card(cpu)
    with simulated_card(), sparse_prefill(model, plan, "torch"):
        logits = model(ids.to(CARD)).logits
        assert logits.device == CARD
        logits = logits.cpu()
    torch.testing.assert_close(logits, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(selector_defaults()))
def test_prefill_with_each_selector_and_token_rule(cpu: Any, name: str) -> None:
    compensator = "none" if name in TOKEN_RULES else "surrogate"
    prefilled(cpu, random_tiny_plan(cpu, selector=name, compensator=compensator))


@pytest.mark.parametrize("name", sorted(COMPENSATORS))
@pytest.mark.parametrize("hot", [0.0, 0.5])
def test_prefill_with_each_compensator(cpu: Any, name: str, hot: float) -> None:
    prefilled(cpu, random_tiny_plan(cpu, compensator=name, hot_fraction=hot))


@pytest.mark.parametrize(
    "changes",
    [
        {"blocks": "similar", "compensator": "surrogate"},
        {"scheduler": "per_block"},
        {"scheduler": "per_block", "group_size": 16, "hot_fraction": 0.5},
        {"scheduler": "per_block", "compensator": "surrogate", "first_dense": 5},
        {"scheduler": {"name": "per_block", "rule": "energy"}, "compensator": "rsparse"},
        {"scheduler": {"name": "per_block", "rule": "whole"}, "compensator": "lowrank"},
        {"scheduler": "per_block", "compensator": "surrogate", "blocks": "sorted"},
        {"group_size": 16},
        {"first_dense": 5},
        {"compensator": {"name": "surrogate", "output_map_rank": 4}},
    ],
    ids=str,
)
def test_prefill_of_other_plans(cpu: Any, changes: dict[str, Any]) -> None:
    prefilled(cpu, random_tiny_plan(cpu, **changes))


def test_a_plan_of_experts_is_made_and_used(tmp_path: Path) -> None:
    cpu = tiny_model("olmoe")
    # transformers' grouped product uses an operation that the CPU lacks for integers
    cpu.set_experts_implementation("eager")
    model = on_card(cpu)
    with simulated_card():
        plan = built_plan(model, FolderCache(tmp_path))
    expected = built_plan(cpu, FolderCache(tmp_path / "cpu"))
    assert [one.kept for one in plan.layers] == [one.kept for one in expected.layers]
    prefilled(cpu, plan)


REFINED = {"name": "surrogate", "output_map_rank": 2, "tune_steps": 2}
PLANS: dict[str, dict[str, Any]] = (
    {f"compensator {n}": {"compensator": n} for n in COMPENSATORS}
    | {f"scheduler {n}": {"scheduler": n} for n in SCHEDULERS}
    | {
        "groups": {"group_size": 16, "hot_fraction": 0.5},
        "refined": {"compensator": REFINED},
        "refined static": {"compensator": REFINED, "selector": "static", "blocks": "similar"},
        "weights": {"selector": "svd_gate"},
        "low rank": {"selector": {"name": "trained_lowrank", "rank": 8}, "compensator": REFINED},
        "token rule": {"selector": "cats", "compensator": "bias"},
    }
)


@pytest.mark.parametrize("case", PLANS)
def test_a_plan_is_made_and_used(cpu: Any, case: str, tmp_path: Path) -> None:
    model = on_card(cpu)
    with simulated_card():
        plan = built_plan(model, FolderCache(tmp_path), **PLANS[case])
        assert all(
            value.device.type == "cpu"
            for layer in plan.layers
            for value in layer.tensors().values()
        )
        plan.save(tmp_path / "plan")
        read = SparsePlan.load(tmp_path / "plan")
        for a, b in zip(plan.layers, read.layers, strict=True):
            assert a.tensors().keys() == b.tensors().keys()
            assert all(torch.equal(value, b.tensors()[n]) for n, value in a.tensors().items())
        if case != "token rule":
            rows = selection_metrics(model, plan, random_windows(1, 128))
            assert all(0 < row["recall_at_k"] <= 1 for row in rows)
    prefilled(cpu, plan)


def test_fidelity(cpu: Any, tmp_path: Path) -> None:
    ids = random_windows(1, 129)[0]
    case = fidelity.text_case(
        "text",
        "document",
        ids,
        96,
        fidelity.TAILS,
        judges_prompt=True,
    )
    tails = case.tails | {"question": fidelity.Tail(ids[96:100], from_prompt=True)}
    case, plan = replace(case, tails=tails), random_tiny_plan(cpu, compensator="surrogate")
    measured = {}
    for name, model in (("cpu", cpu), ("card", on_card(cpu))):
        folder = tmp_path / name
        folder.mkdir()
        with simulated_card():
            fidelity.save_dense(model, [case], folder)
            measured[name] = fidelity.measure(model, plan, [case], folder, "torch")
    for a, b in zip(measured["cpu"].rows, measured["card"].rows, strict=True):
        assert a.tail == b.tail and a.kl == pytest.approx(b.kl, rel=1e-3, abs=1e-7)
    assert len(measured["card"].rows) == 4 and plan_settings().first_dense == 16
