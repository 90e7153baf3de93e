"""What tuning learns from: the dense model's final hidden states where the objective looks, and the
second moments of its FFN inputs.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffbench.models.adapters import gated_ffns
from ffbench.models.forward import last_hidden
from ffbench.runs.progress import progress_bar
from ffbench.runs.tensor_files import load_tensors, save_tensors
from ffbench.training.tails import TailWindow

RIDGE = 1e-3  # of the mean of the diagonal, so that the factor exists
HIDDEN, FACTORS = "teacher.safetensors", "input_factors.safetensors"


@contextmanager
def input_moments(model: Any) -> Iterator[list[Tensor]]:
    """Sums of x x^T [d, d] of every layer's FFN inputs, float64, on the weights' device."""
    ffns = gated_ffns(model)
    sums = [
        torch.zeros(ffn.w_gate.shape[1], ffn.w_gate.shape[1], dtype=torch.float64).to(
            ffn.w_gate.device
        )
        for ffn in ffns
    ]

    def add(index: int, x: Tensor) -> None:
        x = x.flatten(0, -2).float()
        sums[index] += x.T @ x

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
def save_teacher(
    model: Any, windows: Sequence[TailWindow], names: Sequence[str], folder: Path
) -> None:
    """Write the dense final hidden states of each window at each objective's positions, and a
    factor of every layer's FFN inputs.

    A factor L [d, d] has L L^T = E x x^T, with RIDGE times the mean of its diagonal added to it.
    """
    states: dict[str, Tensor] = {}
    with input_moments(model) as sums:
        for i, window in enumerate(progress_bar(windows, desc="tune: dense")):
            hidden = last_hidden(model, window.ids)
            states |= {f"{i}.{name}": hidden[window.positions[name]].cpu() for name in names}
    tokens = sum(len(window.ids) for window in windows)
    factors = {}
    for i, total in enumerate(sums):
        second = total / tokens
        identity = torch.eye(len(second), dtype=torch.float64, device=second.device)
        second += RIDGE * second.diagonal().mean() * identity
        factors[str(i)] = torch.linalg.cholesky(second).float().contiguous().cpu()
    save_tensors(states, folder / HIDDEN)
    save_tensors(factors, folder / FACTORS)


def load_hidden(folder: Path) -> dict[str, Tensor]:
    """Hidden states [positions, d] by WINDOW.OBJECTIVE that `save_teacher` wrote."""
    return load_tensors(folder / HIDDEN)


def load_factors(folder: Path) -> list[Tensor]:
    """Factors [d, d] of the layers that `save_teacher` wrote."""
    factors = load_tensors(folder / FACTORS)
    return [factors[str(i)] for i in range(len(factors))]
