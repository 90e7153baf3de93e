"""Turn collected sums into a sparse plan."""

import torch

from ffbench.sparsity.moments import Moments
from ffbench.sparsity.plan import LayerPlan, PlanSettings, SparsePlan
from ffbench.sparsity.predictor import EnergySums, Predictor, fit_predictor
from ffbench.sparsity.schedulers import SCHEDULERS
from ffbench.sparsity.surrogate import Surrogate, fit_mean, fit_reduced_rank, none_surrogate


def fit_compensators(moments: list[Moments], down_norms: list[torch.Tensor], kind: str, rank: int) -> list[Surrogate]:
    """One estimate of the activations a layer. ValueError for an unknown compensator."""
    if kind == "none":
        return [none_surrogate(m.x.numel(), m.a.numel()) for m in moments]
    if kind == "bias":
        return [fit_mean(m) for m in moments]
    if kind == "surrogate":
        return [fit_reduced_rank(m, norms, rank) for m, norms in zip(moments, down_norms, strict=True)]
    raise ValueError(f"compensator: {kind!r} is unknown; valid: none, bias, surrogate")


def build_plan(settings: PlanSettings, fingerprint: dict[str, str], surrogates: list[Surrogate],
               predictors: list[Predictor], layer_scores: list[float]) -> SparsePlan:
    """Schedule the kept neurons, choose the hot set by the static prior, and assemble the plan."""
    f = len(predictors[0].prior)
    kept = SCHEDULERS[settings.scheduler](layer_scores, f, 1 - settings.sparsity)
    layers = []
    for count, surrogate, predictor in zip(kept, surrogates, predictors, strict=True):
        hot = min(round(settings.hot_fraction * count), count)
        order = predictor.prior.argsort(descending=True) if hot else torch.arange(f)
        layers.append(LayerPlan(count, hot, order, surrogate, predictor))
    return SparsePlan(settings, fingerprint, layers)


def fit_predictors(sums: list[EnergySums], projections: list[torch.Tensor], means: list[torch.Tensor]) -> list[Predictor]:
    """One predictor a layer from the collected block sums."""
    return [fit_predictor(s, p, m) for s, p, m in zip(sums, projections, means, strict=True)]
