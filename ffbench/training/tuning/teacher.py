"""What tuning learns from: the dense model's final hidden states on tuning windows, and the shape
of its FFN inputs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ffbench.evaluation.fidelity import last_hidden
from ffbench.models.adapters import gated_ffns
from ffbench.runs.progress import progress_bar
from ffbench.training.layer_walk import SINK_TOKENS

WINDOW = 768
WINDOWS = 128
POSITIONS = 640
RIDGE = 1e-3
HIDDEN, FACTORS = "teacher.safetensors", "input_factors.safetensors"


def window_tokens(block_size: int) -> int:
    """Length of a tuning window: whole blocks, at least two, near WINDOW."""
    return block_size * max(2, round(WINDOW / block_size))


def positions_of(window: int, tokens: int) -> Tensor:
    """Sorted token positions [n] of a window that the loss looks at, drawn by its number from those
    after the sinks.
    """
    generator = torch.Generator().manual_seed(window)
    first = min(SINK_TOKENS, tokens // 2)
    return torch.randperm(tokens - first, generator=generator)[:POSITIONS].sort().values + first


@contextmanager
def input_moments(model: Any, first: int) -> Iterator[list[Tensor]]:
    """Sums of x x^T [d, d] of every layer's FFN inputs from token `first` of each window on,
    float64, with the count.
    """
    ffns = gated_ffns(model)
    d = ffns[0].w_gate.shape[1]
    sums = [torch.zeros(d, d, dtype=torch.float64) for _ in ffns]

    def add(index: int, x: Tensor) -> None:
        x = x.flatten(0, -2)[first:].float()
        sums[index] += (x.T @ x).cpu()

    hooks = [
        ffn.module.register_forward_pre_hook(lambda module, args, i=i: add(i, args[0]))
        for i, ffn in enumerate(ffns)
    ]
    try:
        yield sums
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def save_teacher(model: Any, windows: Tensor, folder: Path) -> None:
    """Write the dense final hidden states [windows, positions, d], and a factor of every layer's
    FFN inputs.

    A factor L [d, d] has L L^T = E x x^T, with RIDGE times the mean of its diagonal added to it.
    """
    length = windows.shape[1]
    first = min(SINK_TOKENS, length // 2)
    with input_moments(model, first) as sums:
        states = [
            last_hidden(model, ids).cpu()[positions_of(i, length)]
            for i, ids in enumerate(progress_bar(windows, desc="tune: dense"))
        ]
    factors = {}
    for i, total in enumerate(sums):
        second = total / (len(windows) * (length - first))
        second += RIDGE * second.diagonal().mean() * torch.eye(len(second), dtype=torch.float64)
        factors[str(i)] = torch.linalg.cholesky(second).float().contiguous()
    save_file({"hidden": torch.stack(states)}, folder / HIDDEN)
    save_file(factors, folder / FACTORS)


def load_hidden(folder: Path) -> Tensor:
    """Hidden states [windows, positions, d] that `save_teacher` wrote."""
    return load_file(folder / HIDDEN)["hidden"]


def load_factors(folder: Path) -> list[Tensor]:
    """Factors [d, d] of the layers that `save_teacher` wrote."""
    found = load_file(folder / FACTORS)
    return [found[str(i)] for i in range(len(found))]
