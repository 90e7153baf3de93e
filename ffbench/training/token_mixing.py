"""Layer scores that schedulers share the compute out by."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.schedulers.token_mixing import MASSES
from ffbench.models.adapters import decoder_layers
from ffbench.runs.progress import progress_bar

MIXING_TOKENS = 1024  # per window: explicit attention weights grow with the square
FAR_TOKENS = 128  # one block of the default size


def attention_masses(weights: Tensor) -> dict[str, float]:
    """Mean attention mass that a query gives to other tokens, by definition (our design).

    others: tokens other than itself and the first one (the sink). with_sink: other than itself.
    far: those at least FAR_TOKENS before it, the first left out. weights [1, heads, T, T], rows
    summing to one; the first query is left out (it has no other token).
    """
    rows = weights[0].float()
    moved = 1 - rows.diagonal(dim1=1, dim2=2)
    far = rows.tril(-FAR_TOKENS)[:, :, 1:].sum(2)
    parts = {"others": moved - rows[:, :, 0], "with_sink": moved, "far": far}
    return {name: part[:, 1:].mean().item() for name, part in parts.items()}


@torch.no_grad()
def token_mixing_scores(model: Any, batches: Tensor) -> dict[str, list[float]]:
    """Token-mixing scores of every layer over windows [n, T], by definition, from explicit
    attention weights.

    Attention runs in its eager form meanwhile, since fused attention has no weights to look at.
    """
    sums = {name: [0.0] * len(decoder_layers(model)) for name in MASSES}
    handles = []
    for i, layer in enumerate(decoder_layers(model)):

        def add_scores(module: Any, args: tuple, output: Any, i: int = i) -> None:
            for name, value in attention_masses(output[1]).items():
                sums[name][i] += value

        handles.append(layer.self_attn.register_forward_hook(add_scores))
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        for ids in progress_bar(batches, desc="schedule: token mixing"):
            model.model(ids[:MIXING_TOKENS].unsqueeze(0).to(model.device), use_cache=False)
    finally:
        model.set_attn_implementation(before)
        for handle in handles:
            handle.remove()
    return {name: [total / len(batches) for total in totals] for name, totals in sums.items()}


def save_scores(scores: list[float] | dict[str, list[float]], folder: Path) -> None:
    """Write layer scores."""
    (folder / "scores.json").write_text(json.dumps(scores), encoding="utf-8")


def load_scores(folder: Path) -> Any:
    """Read what `save_scores` wrote."""
    return json.loads((folder / "scores.json").read_text(encoding="utf-8"))
