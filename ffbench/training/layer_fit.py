"""Fit one layer's compensator and predictor, and assemble plans."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ffbench.methods.compensators import Compensator, CompensatorState
from ffbench.methods.compensators.base import FitInputs
from ffbench.methods.energy import residual_energy
from ffbench.methods.groups import group_sums, members
from ffbench.methods.linalg import Moments
from ffbench.methods.plan import LayerPlan, PlanSettings, SparsePlan
from ffbench.methods.selectors import Selector
from ffbench.methods.selectors.predictor import EnergySums, Predictor, fit_predictor
from ffbench.methods.statistics import STATISTIC_AXES
from ffbench.methods.tensors import AxisTensors
from ffbench.methods.token_scale import ScaleSums, fit_scale, scale_features
from ffbench.models.adapters import GatedFFN
from ffbench.runs.tensor_files import load_tensors, save_tensors
from ffbench.training.layer_walk import LayerData
from ffbench.training.statistics import layer_statistics

FILE = "layers.safetensors"


@dataclass
class LayerFit:
    """What one layer learns in closed form; shared by all selectors, sparsities and block sizes."""

    compensation: CompensatorState
    predictor: Predictor
    statistics: AxisTensors

    @property
    def empty(self) -> bool:
        """Whether this is `no_fit`: nothing is known of any neuron."""
        return not bool(self.predictor.prior.any())


def no_fit(ffn: GatedFFN, compensator: Compensator) -> LayerFit:
    """Zeros in place of a fit, for an FFN that too few tokens reach. It has to stay dense."""
    f, d = ffn.w_gate.shape
    predictor = Predictor(torch.zeros(d), torch.zeros(f, d).half(), torch.zeros(f))
    return LayerFit(compensator.random_state(d, f, torch.zeros), predictor, AxisTensors())


def moments_of(data: LayerData) -> Moments:
    """Moments of a layer's inputs and activations over all its windows."""
    f, d = data.ffn.w_gate.shape
    moments = Moments.zeros(d, f, data.ffn.w_gate.device)
    for x, a in data:
        moments.add(x, a)
    return moments


def fit_inputs(data: LayerData, moments: Moments) -> FitInputs:
    """What a compensator's closed form looks at."""
    ffn = data.ffn
    norms = ffn.w_down.float().norm(dim=0)
    return FitInputs(moments, ffn.w_gate, ffn.w_up, ffn.w_down, norms)


@torch.no_grad()
def fit_layer(data: LayerData, compensator: Compensator) -> LayerFit:
    """Fit a layer: the compensator first, then the predictor of the energy that it leaves. An
    expert with too few tokens has `no_fit`.
    """
    if data.too_few:
        return no_fit(data.ffn, compensator)
    moments = moments_of(data)
    inputs = fit_inputs(data, moments)
    state = compensator.fit(inputs)
    norms = inputs.down_norms
    d, scale = data.ffn.w_gate.shape[1], state.expected_energy(moments, norms)
    sums, total = EnergySums.zeros(d, scale), scale.sum().clamp_min(1e-30)
    width = state.feature_width
    token_sums = ScaleSums.zeros(d + width + 1, norms.device) if width else None
    for x, a in data:
        energy = residual_energy(a, state.estimate(x), norms)
        sums.add(x, energy)
        if token_sums:
            token_sums.add(scale_features(x, state.features(x)), energy.sum(1) / total)
    statistics = layer_statistics(moments, data)
    if token_sums:
        statistics.values |= fit_scale(token_sums, d)
    return LayerFit(state, fit_predictor(moments, sums), statistics)


@torch.no_grad()
def refit_layer(data: LayerData, compensator: Compensator, fit: LayerFit, kept: int) -> LayerFit:
    """The fit once `kept` is known: the neurons with the largest expected energy are the set."""
    inputs = fit_inputs(data, moments_of(data))
    best = fit.predictor.prior.to(data.ffn.w_gate.device).topk(kept).indices
    return replace(fit, compensation=compensator.refit(fit.compensation, inputs, best))


def save_fits(fits: Iterable[LayerFit], folder: Path) -> None:
    """Write fitted layers."""
    tensors: dict[str, Tensor] = {}
    for i, fit in enumerate(fits):
        parts: Mapping[str, Mapping[str, Tensor]] = {
            "compensator": fit.compensation.tensors(),
            "predictor": fit.predictor.tensors(),
            "statistics": fit.statistics.values,
        }
        tensors |= {
            f"{i}.{part}.{name}": value.contiguous().cpu()
            for part, values in parts.items()
            for name, value in values.items()
        }
    save_tensors(tensors, folder / FILE)


def load_fits(folder: Path, compensator: Compensator) -> list[LayerFit]:
    """Read what `save_fits` wrote."""
    layers: dict[int, dict[str, dict[str, Tensor]]] = {}
    for key, value in load_tensors(folder / FILE).items():
        index, part, name = key.split(".", 2)
        parts = layers.setdefault(
            int(index), {"compensator": {}, "predictor": {}, "statistics": {}}
        )
        parts[part][name] = value
    return [
        LayerFit(
            compensator.state_type.from_tensors(parts["compensator"]),
            Predictor.from_tensors(parts["predictor"]),
            AxisTensors(parts["statistics"], dict(STATISTIC_AXES)),
        )
        for _, parts in sorted(layers.items())
    ]


def plan_predictor(settings: PlanSettings, fitted: Predictor, ffn: GatedFFN) -> Predictor:
    """The fitted predictor as the settings' selector wants it, made on the weights' device."""
    rank = settings.selector.predictor_rank if isinstance(settings.selector, Selector) else None
    if rank is None:
        return fitted
    return fitted.to(ffn.w_gate.device).of_rank(rank).to(torch.device("cpu"))


def weighted(fit: LayerFit, importance: Tensor) -> LayerFit:
    """The fit whose neurons count by `importance` [f]: in the predictor's prior, and as a statistic
    for rules that look at exact activations.
    """
    predictor = replace(fit.predictor, prior=fit.predictor.prior * importance)
    statistics = AxisTensors(
        fit.statistics.values | {"importance": importance}, dict(STATISTIC_AXES)
    )
    return replace(fit, predictor=predictor, statistics=statistics)


def build_plan(
    settings: PlanSettings,
    fingerprint: dict[str, str],
    fits: list[LayerFit],
    kept: list[int],
    ffns: list[GatedFFN],
    orders: list[Tensor] | None = None,
    importances: list[Tensor] | None = None,
) -> SparsePlan:
    """Assemble a plan; the hot set is the neurons (the groups of each layer's `orders`) with the
    largest expected energy. importances: what each neuron's energy counts, [f] per layer.
    """
    layers, group = [], settings.group_size
    if importances is not None:
        fits = [weighted(fit, one) for fit, one in zip(fits, importances, strict=True)]
    for i, (count, fit, ffn) in enumerate(zip(kept, fits, ffns, strict=True)):
        hot = min(round(settings.hot_fraction * count / group) * group, count)
        prior = fit.predictor.prior
        order = orders[i] if orders else torch.arange(len(prior))
        if hot:
            ranked = group_sums(prior[order], group).argsort(descending=True)
            order = order[members(ranked, group)]
        own = settings.selector.prepare(ffn.w_gate, ffn.w_up, ffn.w_down)
        selector = AxisTensors(
            {name: value.cpu() for name, value in own.items()}, dict(settings.selector.tensor_axes)
        )
        predictor = plan_predictor(settings, fit.predictor, ffn)
        layers.append(
            LayerPlan(count, hot, order, fit.compensation, predictor, fit.statistics, selector)
        )
    return SparsePlan(settings, fingerprint, layers, places=[ffn.place for ffn in ffns])
