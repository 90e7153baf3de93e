"""Neurons kept in whole groups of neighbours, so that a kernel reads their rows in one piece."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ffbench.methods.plan import LayerPlan


# the neurons of some blocks: a table [blocks, K], or a row [K] per block where they keep different
# numbers
Kept = Tensor | list[Tensor]


def group_problem(f: int, group: int) -> str | None:
    """Why f neurons cannot be cut into groups, or None."""
    if f % group == 0:
        return None
    valid = ", ".join(str(size) for size in (1, 8, 16, 32, 64) if f % size == 0)
    return (
        f"group_size: {group} does not divide the layer's {f} neurons; choose for example {valid}"
    )


def group_sums(values: Tensor, group: int) -> Tensor:
    """Sums [..., f / group] over groups of neighbours of values [..., f]."""
    return values if group == 1 else values.unflatten(-1, (-1, group)).sum(-1)


def members(groups: Tensor, group: int) -> Tensor:
    """Neurons [..., n * group] of groups [..., n]."""
    if group == 1:
        return groups
    return (groups.unsqueeze(-1) * group + torch.arange(group, device=groups.device)).flatten(-2)


def best(scores: Tensor, count: int, group: int, first: int = 0) -> Tensor:
    """Sorted positions [n, count] of the whole groups with the largest sums of scores [n, m],
    counted from `first`; int64.
    """
    ranked = group_sums(scores, group).topk(count // group, dim=1)
    found = members(ranked.indices.sort(dim=1).values, group)
    return found.add_(first) if first else found


def kept_neurons(scores: Tensor, layer: "LayerPlan", group: int) -> Tensor:
    """Neurons [n, kept] of the model that a plan's layer keeps by scores [n, f]: the hot ones, then
    the best groups.

    Groups are neighbours in the plan's order.
    """
    order, hot = layer.order, layer.hot
    dynamic = best(scores[:, order[hot:]], layer.kept - hot, group, hot)
    return order[
        torch.cat([torch.arange(hot, device=dynamic.device).expand(len(scores), -1), dynamic], 1)
    ]
