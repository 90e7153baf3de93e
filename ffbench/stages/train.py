"""Train a sparse plan: schedule the layers, then fit each on calibration text; each step cached."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from ffbench.models.adapters import gated_ffns
from ffbench.sparsity.plan import PREDICTOR_PARTS, PlanSettings, SparsePlan
from ffbench.sparsity.predictor import Predictor
from ffbench.sparsity.surrogate import OutputMap, Surrogate
from ffbench.stages.collect import walk_layers
from ffbench.stages.fit import LayerFit, build_plan, fit_layer, schedule
from ffbench.stages.schedule import load_scores, save_scores, token_mixing_scores

Cache = Callable[[str, dict[str, Any], Callable[[Path], None]], Path]
FILE = "layers.safetensors"
MIXING_WINDOWS = 4


def save_fits(fits: list[LayerFit], folder: Path) -> None:
    """Write fitted layers."""
    tensors: dict[str, Tensor] = {}
    for i, fit in enumerate(fits):
        tensors |= {f"{i}.surrogate.{n}": getattr(fit.surrogate, n).contiguous() for n in "pvc"}
        tensors |= {f"{i}.predictor.{n}": getattr(fit.predictor, n).contiguous() for n in PREDICTOR_PARTS}
        if fit.output_map:
            tensors |= {f"{i}.output_map.{n}": getattr(fit.output_map, n).contiguous() for n in "pub"}
    save_file(tensors, folder / FILE)


def load_fits(folder: Path, layers: int) -> list[LayerFit]:
    """Read what `save_fits` wrote."""
    tensors = load_file(folder / FILE)
    fits = []
    for i in range(layers):
        surrogate = Surrogate(*(tensors[f"{i}.surrogate.{n}"] for n in "pvc"))
        predictor = Predictor(*(tensors[f"{i}.predictor.{n}"] for n in PREDICTOR_PARTS))
        mapped = f"{i}.output_map.p" in tensors
        fits.append(LayerFit(surrogate, predictor,
                             OutputMap(*(tensors[f"{i}.output_map.{n}"] for n in "pub")) if mapped else None))
    return fits


def layer_scores(model: Any, settings: PlanSettings, calibration: Tensor, identity: dict[str, Any],
                 cache: Cache) -> list[float]:
    """What the scheduler shares out by: token-mixing scores, or ones where it needs none."""
    if settings.scheduler != "token_mixing":
        return [1.0] * len(gated_ffns(model))
    step = max(1, len(calibration) // MIXING_WINDOWS)
    folder = cache("mixing", identity, lambda path: save_scores(
        token_mixing_scores(model, calibration[::step]), path))
    return load_scores(folder)


def train_plan(model: Any, settings: PlanSettings, calibration: Tensor, identity: dict[str, Any], cache: Cache,
               fingerprint: dict[str, str]) -> SparsePlan:
    """A plan for `settings` from calibration windows [n, T]; `identity` names model and text.

    Fits are shared by every selector, sparsity and block size; only the mask-blind lowrank map depends on how many
    neurons are kept.
    """
    f = gated_ffns(model)[0].w_gate.shape[0]
    kept = schedule(settings, layer_scores(model, settings, calibration, identity, cache), f)
    kind = settings.compensator
    key = identity | {"compensator": kind, "rank": settings.rank if kind in ("surrogate", "lowrank") else 0,
                      "kept": kept if kind == "lowrank" else None}

    def make(folder: Path) -> None:
        layers = walk_layers(model, calibration, "fit: layers")
        save_fits([fit_layer(data, kind, settings.rank, count) for data, count in zip(layers, kept, strict=True)], folder)

    fits = load_fits(cache("fit", key, make), len(kept))
    return build_plan(settings, fingerprint, fits, kept)
