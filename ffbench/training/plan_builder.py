"""Train a sparse plan: schedule the layers, then fit each on calibration text; each step cached."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ffbench.methods.compensators.surrogate import OutputMap, Surrogate
from ffbench.methods.groups import group_problem
from ffbench.methods.plan import FORMAT_VERSION, PREDICTOR_PARTS, PlanSettings, SparsePlan, extra_of
from ffbench.methods.predictor import Predictor
from ffbench.methods.schedulers import MIXING, Evidence, schedule, uniform
from ffbench.methods.selectors import SELECTORS
from ffbench.models.adapters import gated_ffns
from ffbench.training.curvature import load_curvature, neuron_curvature, save_curvature
from ffbench.training.layer_fit import FIT_VERSION, LayerFit, build_plan, fit_layer
from ffbench.training.layer_walk import walk_layers
from ffbench.training.neuron_order import load_orders, save_orders
from ffbench.training.output_map import fit_leftover_maps
from ffbench.training.sensitivity import layer_costs, neuron_gains
from ffbench.training.token_mixing import load_scores, save_scores, token_mixing_scores
from ffbench.training.tuning.teacher import POSITIONS, WINDOW, save_teacher, window_tokens
from ffbench.training.tuning.tune import TUNING_VERSION, tune

Cache = Callable[..., Path]
CLOSED_FORM = {"surrogate_map": "surrogate", "surrogate_tuned": "surrogate"}
FILE = "layers.safetensors"
MIXING_WINDOWS = 4
MAP_WINDOWS = 16
SENSITIVITY_WINDOWS = 6
CURVATURE_WINDOWS = 24


def save_fits(fits: list[LayerFit], folder: Path) -> None:
    """Write fitted layers."""
    tensors: dict[str, Tensor] = {}
    for i, fit in enumerate(fits):
        tensors |= {f"{i}.surrogate.{n}": getattr(fit.surrogate, n).contiguous() for n in "pvc"}
        tensors |= {
            f"{i}.predictor.{n}": getattr(fit.predictor, n).contiguous() for n in PREDICTOR_PARTS
        }
        tensors |= {f"{i}.extra.{n}": one.contiguous() for n, one in fit.extra.items()}
        if fit.output_map:
            tensors |= {
                f"{i}.output_map.{n}": getattr(fit.output_map, n).contiguous() for n in "pub"
            }
    save_file(tensors, folder / FILE)


def load_fits(folder: Path, layers: int) -> list[LayerFit]:
    """Read what `save_fits` wrote."""
    tensors = load_file(folder / FILE)
    fits = []
    for i in range(layers):
        surrogate = Surrogate(*(tensors[f"{i}.surrogate.{n}"] for n in "pvc"))
        predictor = Predictor(*(tensors[f"{i}.predictor.{n}"] for n in PREDICTOR_PARTS))
        mapped = f"{i}.output_map.p" in tensors
        fits.append(
            LayerFit(
                surrogate,
                predictor,
                OutputMap(*(tensors[f"{i}.output_map.{n}"] for n in "pub")) if mapped else None,
                extra_of(tensors, i),
            )
        )
    return fits


@dataclass
class TrainingText:
    """Calibration windows [n, T] of token ids, and a function that gives tuning windows [m, length]
    of a length.
    """

    calibration: Tensor
    tuning: Callable[[int], Tensor]


def tuned_plan(
    model: Any, plan: SparsePlan, text: TrainingText, identity: dict[str, Any], cache: Cache
) -> SparsePlan:
    """The plan with the compensators of all layers tuned together; resumable, each step cached."""
    settings = plan.settings
    length = window_tokens(settings.block_size)
    windows = text.tuning(length)
    named = {
        "model": identity["model"],
        "data": identity["data"],
        "length": length,
        "factors": True,
        "positions": POSITIONS,
    }
    teacher = cache("teacher", named, lambda folder: save_teacher(model, windows, folder))

    def make(folder: Path) -> None:
        tuned = tune(model, plan, windows, teacher, settings.tune_steps, folder)
        save_fits([LayerFit(one.surrogate, one.predictor, one.output_map) for one in tuned], folder)

    key = identity | {
        "plan": asdict(settings),
        "kept": [layer.kept for layer in plan.layers],
        "version": TUNING_VERSION,
    }
    fits = load_fits(cache("tune", key, make, resumable=True), len(plan.layers))
    return replace(
        plan,
        layers=[
            replace(
                layer, surrogate=fit.surrogate, predictor=fit.predictor, output_map=fit.output_map
            )
            for layer, fit in zip(plan.layers, fits, strict=True)
        ],
    )


def mapped_plan(
    model: Any, plan: SparsePlan, text: TrainingText, identity: dict[str, Any], cache: Cache
) -> SparsePlan:
    """The plan with a map of the output in every layer, fitted to what the plan leaves over."""
    settings = replace(plan.settings, compensator="surrogate_map", tune_steps=0)

    def make(folder: Path) -> None:
        windows = text.calibration[:: max(1, len(text.calibration) // MAP_WINDOWS)]
        maps = fit_leftover_maps(model, plan, windows, settings.map_rank)
        save_fits(
            [
                LayerFit(layer.surrogate, layer.predictor, one)
                for layer, one in zip(plan.layers, maps, strict=True)
            ],
            folder,
        )

    key = identity | {"plan": asdict(settings), "kept": [layer.kept for layer in plan.layers]}
    fits = load_fits(cache("leftover", key, make), len(plan.layers))
    return replace(
        plan,
        layers=[
            replace(layer, output_map=fit.output_map)
            for layer, fit in zip(plan.layers, fits, strict=True)
        ],
    )


class Trainer:
    """The stages that lead to a plan for `settings`; `identity` names model and text."""

    def __init__(
        self,
        model: Any,
        settings: PlanSettings,
        text: TrainingText,
        identity: dict[str, Any],
        cache: Cache,
        fingerprint: dict[str, str],
    ) -> None:
        self.model, self.settings, self.text, self.identity = model, settings, text, identity
        self.cache, self.fingerprint = cache, fingerprint
        ffns = gated_ffns(model)
        self.layers, self.f = len(ffns), ffns[0].w_gate.shape[0]
        if problem := group_problem(self.f, settings.group_size):
            raise ValueError(problem)

    def fits(self, kept: list[int]) -> list[LayerFit]:
        """Closed forms of every layer, shared by all selectors, sparsities and block sizes.

        Only the mask-blind lowrank map depends on how many neurons are kept.
        """
        kind = CLOSED_FORM.get(self.settings.compensator, self.settings.compensator)
        rank = self.settings.rank
        key = self.identity | {
            "format": FORMAT_VERSION,
            "version": FIT_VERSION,
            "compensator": kind,
            "rank": rank if kind in ("surrogate", "lowrank", "rsparse") else 0,
            "kept": kept if kind == "lowrank" else None,
        }

        def make(folder: Path) -> None:
            layers = walk_layers(self.model, self.text.calibration, "fit: layers")
            save_fits(
                [
                    fit_layer(data, kind, rank, count)
                    for data, count in zip(layers, kept, strict=True)
                ],
                folder,
            )

        fits, prepare = (
            load_fits(self.cache("fit", key, make), self.layers),
            SELECTORS[self.settings.selector].prepare,
        )
        if prepare:
            for fit, ffn in zip(fits, gated_ffns(self.model), strict=True):
                fit.extra |= prepare(ffn.w_gate, ffn.w_up, ffn.w_down)
        return fits

    def orders(self) -> list[Tensor] | None:
        """Each layer's neurons in groups that are wanted together; None where neurons are kept one
        by one.
        """
        s = self.settings
        if s.group_size == 1:
            return None
        fits = self.fits(uniform(self.evidence()))
        named = {
            "compensator": s.compensator,
            "rank": s.rank,
            "block_size": s.block_size,
            "group_size": s.group_size,
        }
        return load_orders(
            self.cache(
                "regroup",
                self.identity | named,
                lambda folder: save_orders(
                    self.model,
                    self.text.calibration,
                    [fit.surrogate for fit in fits],
                    s.block_size,
                    s.group_size,
                    folder,
                ),
            )
        )

    def evidence(self) -> Evidence:
        """What the scheduler shares out by."""
        return Evidence(self.layers, self.f, 1 - self.settings.sparsity, self.mixing, self.gains)

    def mixing(self, kind: str) -> list[float]:
        """Token-mixing scores of the layers by one definition."""
        windows = self.text.calibration[:: max(1, len(self.text.calibration) // MIXING_WINDOWS)]
        found: dict[str, list[float]] = load_scores(
            self.cache(
                "mixing",
                self.identity | {"kinds": MIXING},
                lambda folder: save_scores(token_mixing_scores(self.model, windows), folder),
            )
        )
        return found[kind]

    def gains(self, kind: str) -> Tensor:
        """What keeping each neuron is worth, [layers, f], in nats of KL."""
        kept = uniform(self.evidence())
        fits = self.fits(kept)
        energies = torch.stack([fit.predictor.prior for fit in fits])
        gains = (
            self.cost_gains(fits, kept, energies)
            if kind == "cost"
            else self.curvature_gains(energies)
        )
        orders = self.orders()
        return gains if orders is None else gains.gather(1, torch.stack(orders))

    def cost_gains(self, fits: list[LayerFit], kept: list[int], energies: Tensor) -> Tensor:
        """From the layers' measured costs at the uniform schedule; residual energies [layers,
        f].
        """
        settings = replace(
            self.settings, hot_fraction=0.0, scheduler="uniform", tune_steps=0, group_size=1
        )
        plan = build_plan(settings, self.fingerprint, fits, kept)
        windows = self.text.tuning(window_tokens(settings.block_size))[:SENSITIVITY_WINDOWS]
        folder = self.cache(
            "sensitivity",
            self.identity | {"plan": asdict(settings), "positions": POSITIONS},
            lambda path: save_scores(layer_costs(self.model, plan, windows), path),
        )
        return neuron_gains(load_scores(folder), energies, kept)

    def curvature_gains(self, energies: Tensor) -> Tensor:
        """Half of E r_j^2 times the Fisher information along the neuron's down column; energies are
        E r_j^2 |w_j|^2.
        """
        windows = self.text.tuning(WINDOW)[:CURVATURE_WINDOWS]
        folder = self.cache(
            "curvature",
            self.identity | {"windows": len(windows), "length": WINDOW, "positions": POSITIONS},
            lambda path: save_curvature(neuron_curvature(self.model, windows), path),
        )
        norms = torch.stack([ffn.w_down.float().square().sum(0) for ffn in gated_ffns(self.model)])
        return 0.5 * energies * load_curvature(folder) / norms.clamp_min(1e-30)

    def plan(self) -> SparsePlan:
        """The plan, tuned where its compensator says so."""
        kept = schedule(self.settings.scheduler, self.evidence(), self.settings.group_size)
        plan = build_plan(self.settings, self.fingerprint, self.fits(kept), kept, self.orders())
        if self.settings.compensator in CLOSED_FORM and self.settings.map_rank:
            plan = mapped_plan(self.model, plan, self.text, self.identity, self.cache)
        if self.settings.compensator == "surrogate_tuned":
            plan = tuned_plan(self.model, plan, self.text, self.identity, self.cache)
        return plan


def train_plan(
    model: Any,
    settings: PlanSettings,
    text: TrainingText,
    identity: dict[str, Any],
    cache: Cache,
    fingerprint: dict[str, str],
) -> SparsePlan:
    """A plan for `settings`; `cache(stage, identity, make)` gives the folder of a stage, made where
    it is missing.
    """
    return Trainer(model, settings, text, identity, cache, fingerprint).plan()
