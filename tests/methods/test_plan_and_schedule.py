"""Plans on disk, schedulers' budgets, FLOP counts."""

import json
from pathlib import Path

import pytest
import torch

from ffbench.methods.compensators.surrogate import OutputMap
from ffbench.methods.flops import flops_of
from ffbench.methods.plan import PlanError, PlanSettings, SparsePlan
from ffbench.methods.schedulers import SCHEDULERS, Evidence, allot, schedule
from ffbench.models.loading import ModelSpec, load_tiny
from ffbench.models.shapes import random_plan


def plan_of(**changes: object) -> SparsePlan:
    values = {
        "selector": "trained",
        "compensator": "surrogate",
        "scheduler": "uniform",
        "block_size": 16,
        "sparsity": 0.5,
        "rank": 8,
    }
    model = load_tiny(ModelSpec("tiny", "tiny", "llama"))[0]
    return random_plan(model, PlanSettings(**(values | changes)))  # type: ignore[arg-type]


def test_a_saved_plan_is_the_same_plan(tmp_path: Path) -> None:
    plan = plan_of()
    plan.layers[0].output_map = OutputMap(torch.randn(3, 64), torch.randn(64, 3), torch.randn(64))
    plan.save(tmp_path)
    again = SparsePlan.load(tmp_path, plan.fingerprint)
    assert again.settings == plan.settings and {p.suffix for p in tmp_path.iterdir()} == {
        ".json",
        ".safetensors",
    }
    for a, b in zip(plan.layers, again.layers, strict=True):
        assert (a.kept, a.hot) == (b.kept, b.hot) and torch.equal(a.order, b.order)
        assert all(torch.equal(getattr(a.surrogate, n), getattr(b.surrogate, n)) for n in "pvc")
        assert torch.equal(a.predictor.weights, b.predictor.weights)
    assert again.layers[1].output_map is None and torch.equal(
        again.layers[0].output_map.u, plan.layers[0].output_map.u
    )


def test_plans_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    plan_of().save(tmp_path)
    with pytest.raises(PlanError, match="made for"):
        SparsePlan.load(tmp_path, {"model": "another"})
    header = json.loads((tmp_path / "plan.json").read_text())
    (tmp_path / "plan.json").write_text(json.dumps(header | {"format_version": 99}))
    with pytest.raises(PlanError, match="format version 99"):
        SparsePlan.load(tmp_path)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(PlanError, match="not a readable plan"):
        SparsePlan.load(tmp_path)
    with pytest.raises(PlanError, match="not a readable plan"):
        SparsePlan.load(tmp_path / "nothing")


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
@pytest.mark.parametrize(("layers", "f"), [(1, 7), (5, 13), (30, 1536)])
@pytest.mark.parametrize("density", [0.05, 0.3, 0.5, 0.77, 1.0])
def test_every_scheduler_meets_the_budget_exactly(
    name: str, layers: int, f: int, density: float
) -> None:
    generator = torch.Generator().manual_seed(2)
    scores, gains = (
        torch.rand(layers, generator=generator) + 0.01,
        torch.rand(layers, f, generator=generator),
    )
    kept = SCHEDULERS[name](
        Evidence(layers, f, density, lambda kind: scores.tolist(), lambda kind: gains)
    )
    assert sum(kept) == max(round(layers * f * density), layers) and all(1 <= k <= f for k in kept)


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
@pytest.mark.parametrize("group", [16, 32])
def test_groups_meet_the_budget_to_within_one_group(name: str, group: int) -> None:
    gains = torch.rand(30, 1536, generator=torch.Generator().manual_seed(2))
    for density in (0.3, 0.5, 0.77, 1.0):
        kept = schedule(
            name,
            Evidence(30, 1536, density, lambda kind: gains[:, 0].tolist(), lambda kind: gains),
            group,
        )
        assert abs(sum(kept) - 30 * 1536 * density) < group and all(
            k % group == 0 and k for k in kept
        )


def test_shares_shape_the_allotment() -> None:
    assert allot([1, 1, 2], 100, 120) == [30, 30, 60]
    assert allot([1, 1, 10], 100, 150) == [25, 25, 100]

    def mixed(scores: list[float], f: int) -> list[int]:
        return SCHEDULERS["token_mixing"](
            Evidence(len(scores), f, 0.5, lambda kind: scores, lambda kind: torch.ones(1, 1))
        )

    kept = mixed([0.1, 0.5, 0.9], 100)
    assert kept[0] < kept[1] < kept[2]
    assert mixed([0.0, 0.0], 10) == [5, 5]


def test_sensitivity_keeps_what_is_worth_most() -> None:
    gains = torch.tensor([[9.0, 8.0, 7.0, 1.0], [6.0, 2.0, 3.0, 0.5], [0.1, 0.2, 0.3, 0.4]])
    evidence = Evidence(3, 4, 0.5, lambda kind: [], lambda kind: gains)
    assert SCHEDULERS["sensitivity"](evidence) == [3, 2, 1]
    assert gains[0, 0] == 9


def test_flops_by_hand() -> None:
    d, f, rank, block = 64, 160, 8, 16
    found = flops_of(plan_of())
    dense = 6 * d * f
    assert found["ideal"] == 0.5
    assert found["selector"] == pytest.approx((d + 2 * f * d / block) / dense)
    assert found["compensator"] == pytest.approx((4 * d * rank + 2 * rank * 80) / dense)
    assert found["ratio"] == pytest.approx(
        found["ideal"] + found["selector"] + found["compensator"]
    )
    hot = flops_of(plan_of(selector="static", hot_fraction=1.0))
    assert hot["selector"] == 0 and hot["compensator"] == pytest.approx(4 * d * rank / dense)
    assert flops_of(plan_of(selector="oracle", compensator="none"))["ratio"] > 1
    alike = flops_of(plan_of(blocks="similar"))
    assert alike["selector"] - found["selector"] == pytest.approx(
        4 * 2 * rank * 2048 / block / dense
    )
