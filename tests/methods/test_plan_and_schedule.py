"""Plans on disk, schedulers' budgets, FLOP counts."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_plans import random_tiny_plan, tiny_model

from ffbench.methods.compensators import OutputMap
from ffbench.methods.flops import PlanFlops, flops_of
from ffbench.methods.plan import PlanError, SparsePlan
from ffbench.methods.schedulers import SCHEDULERS, LayerMeasurements, schedule
from ffbench.methods.schedulers.budget import allot, keep_most_valuable, whole_layers


def plan_of(**changes: Any) -> SparsePlan:
    return random_tiny_plan(tiny_model(), **({"compensator": "surrogate"} | changes))


@pytest.mark.parametrize("compensator", ["surrogate", "rsparse"])
def test_a_saved_plan_is_the_same_plan(tmp_path: Path, compensator: str) -> None:
    plan = plan_of(compensator=compensator, selector="svd_gate")
    output_map = OutputMap(torch.randn(3, 64), torch.randn(64, 3), torch.randn(64))
    first = plan.layers[0]
    plan.layers[0] = replace(first, compensation=first.compensation.with_output_map(output_map))
    plan.save(tmp_path)
    again = SparsePlan.load(tmp_path, plan.fingerprint)
    files = {path.suffix for path in tmp_path.iterdir()}
    assert again.settings == plan.settings and files == {".json", ".safetensors", ".md"}
    for a, b in zip(plan.layers, again.layers, strict=True):
        assert (a.kept, a.hot) == (b.kept, b.hot) and a.tensors().keys() == b.tensors().keys()
        assert all(torch.equal(value, b.tensors()[name]) for name, value in a.tensors().items())
        assert (a.statistics.axes, a.selector_tensors.axes) == (
            b.statistics.axes,
            b.selector_tensors.axes,
        )
    assert again.layers[1].compensation.output_map is None


def test_plans_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    plan_of().save(tmp_path)
    with pytest.raises(PlanError, match="made for"):
        SparsePlan.load(tmp_path, {"model": "another"})
    header = json.loads((tmp_path / "plan.json").read_text())
    (tmp_path / "plan.json").write_text(json.dumps(header | {"format_version": 99}))
    with pytest.raises(PlanError, match="format version 99"):
        SparsePlan.load(tmp_path)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(PlanError, match="cannot be read"):
        SparsePlan.load(tmp_path)
    with pytest.raises(PlanError, match="cannot be read"):
        SparsePlan.load(tmp_path / "nothing")


def measurements(layers: int, f: int, density: float) -> LayerMeasurements:
    g = torch.Generator().manual_seed(2)
    scores, values = torch.rand(layers, generator=g) + 0.01, torch.rand(layers, f, generator=g)
    return LayerMeasurements(
        layers, f, density, lambda mass: scores.tolist(), lambda measure: values
    )


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
@pytest.mark.parametrize(("layers", "f"), [(1, 7), (5, 13), (30, 1536)])
@pytest.mark.parametrize("density", [0.05, 0.3, 0.5, 0.77, 1.0])
def test_every_scheduler_meets_the_budget_exactly(
    name: str, layers: int, f: int, density: float
) -> None:
    kept = SCHEDULERS.make({"name": name}).kept(measurements(layers, f, density))
    assert sum(kept) == max(round(layers * f * density), layers) and all(1 <= k <= f for k in kept)


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
@pytest.mark.parametrize("group", [16, 32])
def test_groups_meet_the_budget_to_within_one_group(name: str, group: int) -> None:
    method = SCHEDULERS.make({"name": name})
    for density in (0.3, 0.5, 0.77, 1.0):
        kept = schedule(method, measurements(30, 1536, density), group)
        assert abs(sum(kept) - 30 * 1536 * density) < group
        assert all(k % group == 0 and k for k in kept)


def test_shares_shape_the_allotment() -> None:
    assert allot([1, 1, 2], 100, 120) == [30, 30, 60]
    assert allot([1, 1, 10], 100, 150) == [25, 25, 100]


def mixed(scores: list[float], f: int, **parameters: Any) -> list[int]:
    asked: list[str] = []

    def measured(mass: str) -> list[float]:
        asked.append(mass)
        return scores

    method = SCHEDULERS.make({"name": "token_mixing", **parameters})
    kept = method.kept(LayerMeasurements(len(scores), f, 0.5, measured, lambda _: torch.ones(1, 1)))
    assert asked == [parameters.get("mass", "others")]
    return kept


def by_value(measure: str, values: torch.Tensor) -> list[int]:
    asked: list[str] = []

    def measured(name: str) -> torch.Tensor:
        asked.append(name)
        return values

    kept = SCHEDULERS.make({"name": measure}).kept(
        LayerMeasurements(*values.shape, 0.5, lambda mass: [], measured)
    )
    assert asked == [measure]
    return kept


def greedy(values: torch.Tensor, total: int) -> list[int]:
    """One neuron per layer, then the most valuable one at a time."""
    rows = [sorted(row, reverse=True) for row in values.tolist()]
    kept = [1] * len(rows)
    while sum(kept) < total:
        open_rows = [i for i, row in enumerate(rows) if kept[i] < len(row)]
        kept[max(open_rows, key=lambda i: rows[i][kept[i]])] += 1
    return kept


VALUES = (
    torch.rand(6, 20, generator=torch.Generator().manual_seed(9)) ** torch.arange(1, 7)[:, None]
)
REFERENCES: dict[str, tuple[list[int], list[int]]] = {
    "uniform": (SCHEDULERS.make({"name": "uniform"}).kept(measurements(3, 10, 0.5)), [5, 5, 5]),
    "per_block": (SCHEDULERS.make({"name": "per_block"}).kept(measurements(3, 10, 0.5)), [5, 5, 5]),
    # of 20 the last two layers keep one each
    "layer_drop": (
        SCHEDULERS.make({"name": "layer_drop"}).kept(measurements(4, 10, 0.5)),
        [10, 8, 1, 1],
    ),
    # shares 0.5 + 0.5 * score / 0.5 are 0.6, 1 and 1.4
    "token_mixing": (mixed([0.1, 0.5, 0.9], 100), [30, 50, 70]),
    "sensitivity": (by_value("sensitivity", VALUES), greedy(VALUES, 60)),
    "curvature": (by_value("curvature", VALUES), greedy(VALUES, 60)),
}


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_every_scheduler_is_its_rule(name: str) -> None:
    kept, expected = REFERENCES[name]
    assert kept == expected


def test_token_mixing_parameters() -> None:
    assert mixed([0.0, 0.0], 10) == [5, 5]
    assert mixed([0.1, 0.5, 0.9], 100, floor=0.0) == [10, 50, 90]
    assert mixed([0.1, 0.5, 0.9], 100, floor=1.0, mass="far") == [50, 50, 50]
    assert mixed([0.1, 0.5, 0.9], 100, floor=1.5) == [70, 50, 30]


def test_nearly_whole_layers_become_dense_within_the_budget() -> None:
    rows = [[9.0] * 9 + [0.1], [5.0] * 4 + [1.0] * 6, [4.0] * 3 + [0.2] * 7]
    values = torch.tensor(rows)
    assert keep_most_valuable(values, 16) == [9, 4, 3]
    assert whole_layers(values, 16, 1.0) == [9, 4, 3]
    assert whole_layers(values, 16, 0.8) == [10, 4, 2]
    # making the first layer whole would leave the others without a neuron
    assert whole_layers(values[:, :10], 11, 0.5) == [9, 1, 1]
    everything = whole_layers(values, 24, 0.0)
    assert sum(everything) == 24 and everything.count(10) == 2


def test_the_most_valuable_neurons_are_kept() -> None:
    values = torch.tensor([[9.0, 8.0, 7.0, 1.0], [6.0, 2.0, 3.0, 0.5], [0.1, 0.2, 0.3, 0.4]])
    before = values.clone()
    assert keep_most_valuable(values, 6) == [3, 2, 1] and torch.equal(values, before)


def test_flops_by_hand() -> None:
    d, f, rank, block = 64, 160, 8, 16
    flops = flops_of(plan_of())
    dense = 6 * d * f
    assert flops.ideal == 0.5
    assert flops.selector == pytest.approx((d + 2 * f * d / block) / dense)
    assert flops.compensator == pytest.approx((4 * d * rank + 2 * rank * 80) / dense)
    assert flops.ratio == pytest.approx(flops.ideal + flops.selector + flops.compensator)
    hot = flops_of(plan_of(selector="static", hot_fraction=1.0))
    assert hot.selector == 0 and hot.compensator == pytest.approx(4 * d * rank / dense)
    assert flops_of(plan_of(selector="oracle", compensator="none")).ratio > 1
    similar = flops_of(plan_of(blocks="similar"))
    assert similar.selector - flops.selector == pytest.approx(4 * 2 * rank * 2048 / block / dense)
    mapped = flops_of(plan_of(compensator={"name": "surrogate", "output_map_rank": 5}))
    assert mapped.compensator - flops.compensator == pytest.approx(4 * 5 * d / dense)


def test_flops_of_a_whole_prompt() -> None:
    flops = flops_of(plan_of())
    # half of the prompt's tokens are sparse at density 0.5
    expected = 0.5 + 0.5 * flops.ratio
    np.testing.assert_allclose(flops.whole_prompt(0.75), expected)
    assert flops.whole_prompt(1.0) == 1
    assert flops.whole_prompt(0.5) == pytest.approx(flops.ratio)  # all tokens are sparse
    assert PlanFlops(1.0, 1.0, 0.0, 0.0).whole_prompt(1.0) == 1  # every layer is whole
