"""A plan for one rank of a tensor-parallel group, which holds some of each layer's neurons."""

from dataclasses import replace

import torch

from ffbench.methods.plan import LayerPlan, SparsePlan


def rank_problems(plan: SparsePlan, size: int) -> list[str]:
    """Why a plan cannot be shared by `size` ranks."""
    if size == 1:
        return []
    problems = []
    f, group = len(plan.layers[0].order), plan.settings.group_size
    if f % size:
        problems.append(
            f"tensor_parallel_size {size} does not divide the plan's {f} neurons per layer"
        )
    if group > 1:
        problems.append(
            f"tensor_parallel_size {size} would cut the plan's groups of {group} neurons; use a "
            "plan with group_size=1, or one rank"
        )
    return problems


def rank_layer(layer: LayerPlan, rank: int, size: int) -> LayerPlan:
    """The part of a layer that rank `rank` of `size` computes: f / size neighbouring neurons.

    Each rank keeps its share of the dynamic neurons by its own scores, so that ranks have equal
    work (our design), and its own part of the hot ones. Outputs of the ranks add up to the layer's;
    what does not belong to a neuron, the output map, is added by the first rank alone.
    """
    f = len(layer.order)
    width = f // size
    low = rank * width
    own = (layer.order >= low) & (layer.order < low + width)
    hot = int(own[: layer.hot].sum())
    others = f - layer.hot
    dynamic = round((layer.kept - layer.hot) * (width - hot) / others) if others else 0
    neurons = torch.arange(low, low + width, device=layer.order.device)
    compensation = layer.compensation.permuted(neurons)
    return replace(
        layer,
        kept=max(hot + dynamic, 1),
        hot=hot,
        order=layer.order[own] - low,
        compensation=compensation if rank == 0 else compensation.with_output_map(None),
        predictor=layer.predictor.permuted(neurons),
        statistics=layer.statistics.permuted(neurons),
        selector_tensors=layer.selector_tensors.permuted(neurons),
    )


def rank_plan(plan: SparsePlan, rank: int, size: int) -> SparsePlan:
    """The plan of one rank; the plan itself for a single one."""
    if size == 1:
        return plan
    return replace(plan, layers=[rank_layer(layer, rank, size) for layer in plan.layers])
