"""Plans on disk, schedulers' budgets, FLOP counts."""

import json
from pathlib import Path

import pytest
import torch

from ffbench.models.loading import ModelSpec, load_tiny
from ffbench.models.shapes import random_plan
from ffbench.sparsity.flops import flops_of
from ffbench.sparsity.plan import PlanError, PlanSettings, SparsePlan
from ffbench.sparsity.schedulers import SCHEDULERS, allot
from ffbench.sparsity.surrogate import OutputMap


def plan_of(**changes: object) -> SparsePlan:
    values = {"selector": "trained", "compensator": "surrogate", "scheduler": "uniform", "block_size": 16,
              "sparsity": 0.5, "rank": 8}
    model = load_tiny(ModelSpec("tiny", "tiny", "llama"))[0]
    return random_plan(model, PlanSettings(**(values | changes)))  # type: ignore[arg-type]


def test_a_saved_plan_is_the_same_plan(tmp_path: Path) -> None:
    plan = plan_of()
    plan.layers[0].output_map = OutputMap(torch.randn(3, 64), torch.randn(64, 3), torch.randn(64))
    plan.save(tmp_path)
    again = SparsePlan.load(tmp_path, plan.fingerprint)
    assert again.settings == plan.settings and {p.suffix for p in tmp_path.iterdir()} == {".json", ".safetensors"}
    for a, b in zip(plan.layers, again.layers, strict=True):
        assert (a.kept, a.hot) == (b.kept, b.hot) and torch.equal(a.order, b.order)
        assert all(torch.equal(getattr(a.surrogate, n), getattr(b.surrogate, n)) for n in "pvc")
        assert torch.equal(a.predictor.weights, b.predictor.weights)
    assert again.layers[1].output_map is None and torch.equal(again.layers[0].output_map.u, plan.layers[0].output_map.u)


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
def test_every_scheduler_meets_the_budget_exactly(name: str, layers: int, f: int, density: float) -> None:
    scores = torch.rand(layers, generator=torch.Generator().manual_seed(2)).add(0.01).tolist()
    kept = SCHEDULERS[name](scores, f, density)
    assert sum(kept) == max(round(layers * f * density), layers) and all(1 <= k <= f for k in kept)


def test_shares_shape_the_allotment() -> None:
    assert allot([1, 1, 2], 100, 0.4) == [30, 30, 60]
    assert allot([1, 1, 10], 100, 0.5) == [25, 25, 100]
    kept = SCHEDULERS["token_mixing"]([0.1, 0.5, 0.9], 100, 0.5)
    assert kept[0] < kept[1] < kept[2]
    assert SCHEDULERS["token_mixing"]([0.0, 0.0], 10, 0.5) == [5, 5]


def test_flops_by_hand() -> None:
    d, f, rank, block = 64, 160, 8, 16
    found = flops_of(plan_of())
    dense = 6 * d * f
    assert found["ideal"] == 0.5
    assert found["selector"] == pytest.approx((d + 2 * f * d / block) / dense)
    assert found["compensator"] == pytest.approx((4 * d * rank + 2 * rank * 80) / dense)
    assert found["ratio"] == pytest.approx(found["ideal"] + found["selector"] + found["compensator"])
    hot = flops_of(plan_of(selector="static", hot_fraction=1.0))
    assert hot["selector"] == 0 and hot["compensator"] == pytest.approx(4 * d * rank / dense)
    assert flops_of(plan_of(selector="oracle", compensator="none"))["ratio"] > 1
