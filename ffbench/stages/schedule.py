"""Layer scores that schedulers share the compute out by."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ffbench.models.adapters import decoder_layers

MIXING_TOKENS = 1024


def mixing_of(weights: Tensor) -> float:
    """Mean attention mass that a query gives to tokens other than itself and the first one.

    weights [1, heads, T, T], rows summing to one; the first query is left out (it has no other token).
    """
    rows = weights[0].float()
    moved = 1 - rows.diagonal(dim1=1, dim2=2) - rows[:, :, 0]
    return moved[:, 1:].mean().item()


@torch.no_grad()
def token_mixing_scores(model: Any, batches: Tensor) -> list[float]:
    """Token-mixing score of every layer over windows [n, T], from explicit attention weights (our definition).

    Attention runs in its eager form meanwhile, since fused attention has no weights to look at.
    """
    sums = [0.0] * len(decoder_layers(model))
    handles = []
    for i, layer in enumerate(decoder_layers(model)):
        def look(module: Any, args: tuple, output: Any, i: int = i) -> None:
            sums[i] += mixing_of(output[1])

        handles.append(layer.self_attn.register_forward_hook(look))
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        for ids in tqdm(batches, desc="schedule: token mixing"):
            model.model(ids[:MIXING_TOKENS].unsqueeze(0).to(model.device), use_cache=False)
    finally:
        model.set_attn_implementation(before)
        for handle in handles:
            handle.remove()
    return [total / len(batches) for total in sums]


def save_scores(scores: list[float], folder: Path) -> None:
    """Write layer scores."""
    (folder / "scores.json").write_text(json.dumps(scores))


def load_scores(folder: Path) -> list[float]:
    """Read what `save_scores` wrote."""
    scores: list[float] = json.loads((folder / "scores.json").read_text())
    return scores
