"""Fit one layer's compensator and predictor, and assemble plans."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ffbench.methods.compensators.remainder import remainder_factors
from ffbench.methods.compensators.surrogate import (
    OutputMap,
    Surrogate,
    expected_energy,
    fit_for_skipped,
    fit_mask_blind,
    fit_mean,
    none_surrogate,
    residual_energy,
)
from ffbench.methods.groups import group_sums, members
from ffbench.methods.moments import Moments
from ffbench.methods.plan import LayerPlan, PlanSettings, SparsePlan
from ffbench.methods.predictor import EnergySums, Predictor, fit_predictor
from ffbench.training.layer_walk import LayerData
from ffbench.training.statistics import layer_statistics

FIT_VERSION = 2
COMPENSATORS = (
    "none",
    "bias",
    "lowrank",
    "rsparse",
    "surrogate",
    "surrogate_map",
    "surrogate_tuned",
)


@dataclass
class LayerFit:
    """What one layer learns; `output_map` where the compensator has one, `extra` for single
    selectors.
    """

    surrogate: Surrogate
    predictor: Predictor
    output_map: OutputMap | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)


def fit_surrogate(moments: Moments, down_norms: Tensor, kind: str, rank: int) -> Surrogate:
    """The estimate of a layer's activations. ValueError for an unknown compensator."""
    if kind in ("none", "lowrank", "rsparse"):
        return none_surrogate(moments.x.numel(), moments.a.numel())
    if kind == "bias":
        return fit_mean(moments)
    if kind == "surrogate":
        return fit_for_skipped(moments, down_norms, rank)
    raise ValueError(f"compensator: {kind!r} is unknown; valid: {', '.join(COMPENSATORS)}")


@torch.no_grad()
def fit_layer(data: LayerData, kind: str, rank: int, kept: int) -> LayerFit:
    """Fit a layer: the estimate first, then the predictor of what it leaves over.

    `kept` neurons with the largest prior are the set that a mask-blind map is fitted for.
    """
    f, d = data.ffn.w_gate.shape
    norms = data.ffn.w_down.float().norm(dim=0)
    moments = Moments.zeros(d, f)
    for x, a in data:
        moments.add(x, a)
    surrogate = fit_surrogate(moments, norms, kind, rank)
    sums = EnergySums.zeros(d, expected_energy(moments, surrogate, norms))
    for x, a in data:
        sums.add(x, residual_energy(a, surrogate.estimate(x), norms))
    predictor, extra = fit_predictor(sums), layer_statistics(moments, data)
    if kind == "rsparse":
        extra |= remainder_factors(data.ffn.w_gate, data.ffn.w_up, data.ffn.w_down, rank)
    if kind != "lowrank":
        return LayerFit(surrogate, predictor, extra=extra)
    best = predictor.prior.topk(kept).indices
    return LayerFit(
        surrogate, predictor, fit_mask_blind(moments, data.ffn.w_down.float(), best, rank), extra
    )


def build_plan(
    settings: PlanSettings,
    fingerprint: dict[str, str],
    fits: list[LayerFit],
    kept: list[int],
    orders: list[Tensor] | None = None,
) -> SparsePlan:
    """Assemble a plan; the hot set is the neurons (the groups of each layer's `orders`) with the
    largest prior.
    """
    layers, group = [], settings.group_size
    for i, (count, fit) in enumerate(zip(kept, fits, strict=True)):
        hot = min(round(settings.hot_fraction * count / group) * group, count)
        order = orders[i] if orders else torch.arange(len(fit.predictor.prior))
        if hot:
            order = order[
                members(
                    group_sums(fit.predictor.prior[order], group).argsort(descending=True), group
                )
            ]
        layers.append(
            LayerPlan(count, hot, order, fit.surrogate, fit.predictor, fit.output_map, fit.extra)
        )
    return SparsePlan(settings, fingerprint, layers)
