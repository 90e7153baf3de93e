"""The sparsity for a FLOPs ratio, against costs counted by hand."""

from dataclasses import replace

import pytest
from flops_target import TargetError, at_sparsity, solve_sparsity, sparse_share
from tiny_plans import random_tiny_plan, tiny_model

from ffbench.methods.flops import flops_of
from ffbench.methods.plan import SparsePlan
from ffbench.settings import FidelitySettings, RunSettings


def tiny_plan(**changes: object) -> SparsePlan:
    return random_tiny_plan(tiny_model(), **changes)


def test_share_of_sparse_tokens_over_several_contexts() -> None:
    settings = RunSettings(
        fidelity=FidelitySettings(contexts=[100, 300, 20]), first_dense=30, last_dense=10
    )
    assert sparse_share(settings) == pytest.approx((60 + 260 + 0) / 420)


@pytest.mark.parametrize("target", [0.45, 0.6, 0.83])
def test_plain_plan_by_hand(target: float) -> None:
    # no selector or compensator cost: 1 - 0.8 (1 - density) = target, to one neuron of all
    plan = tiny_plan(selector="static")
    solution = solve_sparsity(plan, target, 0.8)
    neurons = sum(len(layer.order) for layer in plan.layers)
    assert solution.selector_counted
    assert solution.sparsity == pytest.approx((1 - target) / 0.8, abs=1 / neurons)


@pytest.mark.parametrize("compensator", ["none", "surrogate", "lowrank"])
@pytest.mark.parametrize("selector", ["trained", "probe"])
def test_ratio_of_the_solved_plan(selector: str, compensator: str) -> None:
    plan = tiny_plan(selector=selector, compensator=compensator)
    solution = solve_sparsity(plan, 0.7, 0.9)
    flops = flops_of(at_sparsity(plan, solution.sparsity))
    f = len(plan.layers[0].order)
    step = 0.9 / (f * len(plan.layers))  # of one neuron
    assert 0.9 * flops.ratio + 0.1 == pytest.approx(0.7, abs=2 * step)


def test_selector_that_costs_too_much_is_a_bound() -> None:
    free, bound = (
        solve_sparsity(tiny_plan(selector=name), 0.6, 0.9) for name in ("static", "oracle")
    )
    assert bound == replace(free, selector_counted=False)


def test_unreachable_target_says_why() -> None:
    with pytest.raises(TargetError, match=r"ratio 0\.3 cannot be reached: 50% of the prompts'"):
        solve_sparsity(tiny_plan(selector="static"), 0.3, 0.5)
