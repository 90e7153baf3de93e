"""The sparsity at which a plan costs a given share of the dense FFN's FLOPs over whole prompts."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ffbench.methods.flops import PlanFlops, flops_of
from ffbench.methods.plan import SparsePlan
from ffbench.methods.schedulers.budget import allot
from ffbench.settings import RunSettings

STEPS = 40  # of bisection: far below one neuron of any model
DIGITS = 4  # of the sparsity, so that it can be typed; moves the ratio by less than 1e-4


class TargetError(ValueError):
    """No sparsity has the ratio; the text says why."""


@dataclass(frozen=True)
class Solution:
    """selector_counted: False for a bound, whose selector alone costs more than the target."""

    sparsity: float
    selector_counted: bool


def sparse_share(settings: RunSettings) -> float:
    """Share of the fidelity prompts' tokens that run sparse."""
    ends = settings.first_dense + settings.last_dense
    contexts = settings.fidelity.contexts
    return sum(max(context - ends, 0) for context in contexts) / sum(contexts)


def at_sparsity(plan: SparsePlan, sparsity: float) -> SparsePlan:
    """The plan with the same density in every layer. FLOPs depend on the total alone."""
    f, count = len(plan.layers[0].order), len(plan.layers)
    total = max(round(count * f * (1 - sparsity)), count)
    layers = []
    for layer, kept in zip(plan.layers, allot([1.0] * count, f, total), strict=True):
        hot = min(round(plan.settings.hot_fraction * kept), kept)
        layers.append(replace(layer, kept=kept, hot=hot))
    return replace(plan, settings=replace(plan.settings, sparsity=sparsity), layers=layers)


def prompt_ratio(flops: PlanFlops, share: float, counts_selector: bool = True) -> float:
    """FLOPs of whole prompts over dense if `share` of their tokens run sparse."""
    counted = flops if counts_selector else replace(flops, ratio=flops.ratio - flops.selector)
    return counted.whole_prompt(1 - share * (1 - flops.ideal))


def bisect(ratio: Callable[[float], float], target: float, highest: float) -> float:
    """The sparsity in [0, highest] at which the falling function `ratio` is nearest to `target`."""
    low, high = 0.0, highest
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if ratio(middle) > target else (low, middle)
    return round(high, DIGITS)


def solve_sparsity(plan: SparsePlan, target: float, share: float) -> Solution:
    """The sparsity at which `plan` has the whole-prompt ratio `target`.

    A selector that alone costs too much is a bound: its own cost is then left out. Raises
    TargetError if the prompts cannot reach the target even so.
    """
    highest = 1 - 1 / len(plan.layers[0].order)
    for counted in (True, False):

        def ratio(sparsity: float, counted: bool = counted) -> float:
            return prompt_ratio(flops_of(at_sparsity(plan, sparsity)), share, counted)

        if ratio(highest) <= target:
            return Solution(bisect(ratio, target, highest), counted)
    raise TargetError(
        f"FLOPs ratio {target:g} cannot be reached: {share:.0%} of the prompts' tokens run sparse, "
        f"and one neuron per layer with its compensator already costs {ratio(highest):.3f}; give a "
        "larger --flops or longer fidelity.contexts"
    )
