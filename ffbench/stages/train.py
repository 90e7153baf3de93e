"""Train a sparse plan: collect sums, fit estimates and predictors, schedule the layers; each step cached."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ffbench.models.adapters import gated_ffns
from ffbench.sparsity.moments import Moments
from ffbench.sparsity.plan import PlanSettings, SparsePlan
from ffbench.sparsity.predictor import EnergySums
from ffbench.stages.collect import collect_energies, collect_moments
from ffbench.stages.fit import build_plan, fit_compensators, fit_predictors

Cache = Callable[[str, dict[str, Any], Callable[[Path], None]], Path]
FEATURES = 32


def save_sums(folder: Path, sums: list[Any]) -> None:
    """Write lists of sum dataclasses (Moments, EnergySums) as one safetensors file."""
    tensors = {f"{i}.{name}": torch.tensor(value) if isinstance(value, int) else value.clone()
               for i, entry in enumerate(sums) for name, value in vars(entry).items()}
    save_file(tensors, folder / "sums.safetensors")


def load_sums(folder: Path, kind: type, layers: int) -> list[Any]:
    """Read what `save_sums` wrote."""
    tensors = load_file(folder / "sums.safetensors")
    names = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return [kind(**{n: int(tensors[f"{i}.{n}"]) if n == "count" else tensors[f"{i}.{n}"] for n in names})
            for i in range(layers)]


def train_plan(model: Any, settings: PlanSettings, calibration: Tensor, identity: dict[str, Any], cache: Cache,
               fingerprint: dict[str, str]) -> SparsePlan:
    """A plan for `settings` from calibration windows [n, T]; `identity` names model and text.

    Layer scores of the token-mixing scheduler are not measured yet: ValueError for it.
    """
    if settings.scheduler != "uniform":
        raise ValueError(f"scheduler {settings.scheduler!r}: only uniform can be trained so far")
    ffns = gated_ffns(model)
    norms = [ffn.w_down.float().norm(dim=0) for ffn in ffns]
    folder = cache("collect", identity, lambda path: save_sums(path, collect_moments(model, calibration)))
    moments = load_sums(folder, Moments, len(ffns))
    surrogates = fit_compensators(moments, norms, settings.compensator, settings.rank)
    features = fit_compensators(moments, norms, "surrogate", min(FEATURES, moments[0].x.numel()))
    means = [(m.x / m.count).float() for m in moments]
    projections = [s.p for s in features]
    narrow = identity | {"compensator": settings.compensator, "block_size": settings.block_size,
                         "rank": settings.rank if settings.compensator == "surrogate" else 0}
    folder = cache("energies", narrow, lambda path: save_sums(path, collect_energies(
        model, calibration, surrogates, projections, means, settings.block_size)))
    predictors = fit_predictors(load_sums(folder, EnergySums, len(ffns)), projections, means)
    return build_plan(settings, fingerprint, surrogates, predictors, [1.0] * len(ffns))
