"""Fisher information of the answer's distribution with respect to each neuron's output (our
design).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.float32_products import linear
from ffbench.models.adapters import gated_ffns
from ffbench.models.forward import last_hidden, logits_of
from ffbench.runs.progress import progress_bar
from ffbench.runs.tensor_files import load_tensors, save_tensors
from ffbench.training.backward import frozen_weights, recomputed_layers
from ffbench.training.tails import TailWindow

FILE, FISHER_FILE = "curvature.safetensors", "fisher.safetensors"


@contextmanager
def ffn_outputs(model: Any) -> Iterator[list[Tensor]]:
    """Collect each FFN's output [1, T, d] of a forward pass, as part of the graph of gradients."""
    outputs: list[Tensor] = []
    hooks = [
        model.get_input_embeddings().register_forward_hook(
            lambda module, args, out: out.requires_grad_()
        )
    ]
    hooks += [
        ffn.module.register_forward_hook(lambda module, args, out: outputs.append(out))
        for ffn in gated_ffns(model)
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def neuron_curvature(
    model: Any,
    windows: Sequence[TailWindow],
    names: Sequence[str],
    seed: int = 0,
    recompute: bool | None = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """E (w_j . g)^2 of every neuron by objective, [layers, f]; w_j is a down column. And the mean
    of g g^T, [layers, d, d]. Both float32, on the CPU.

    g is the gradient of -log p(y) with respect to the FFN's output at one context token, with y
    drawn from the model's own distribution at the objective's positions. The mean of g g^T is the
    Fisher information F of the sum over these positions, and the KL that a small change e of the
    output causes there is e^T F e / 2. Gradients reach the context through the keys and values
    that the tail reads, so the last layer's are exactly zero for tails. recompute: see
    `recomputed_layers`.
    """
    ffns = gated_ffns(model)
    f, device = ffns[0].w_gate.shape[0], ffns[0].w_gate.device
    d = ffns[0].w_gate.shape[1]
    totals = {n: torch.zeros(len(ffns), f, dtype=torch.float64, device=device) for n in names}
    fisher = {n: torch.zeros(len(ffns), d, d, device=device) for n in names}
    generator = torch.Generator().manual_seed(seed)
    tokens = 0
    with (
        frozen_weights(model),
        recomputed_layers(model, recompute),
        ffn_outputs(model) as outputs,
    ):
        for window in progress_bar(windows, desc="schedule: curvature"):
            outputs.clear()
            hidden = last_hidden(model, window.ids)
            first_pass = tuple(outputs)  # recomputed layers append theirs, too
            tokens += window.end - window.first
            for at, name in enumerate(names):
                logs = logits_of(model, hidden[window.positions[name]]).float().log_softmax(-1)
                drawn = torch.multinomial(logs.detach().exp().cpu(), 1, generator=generator)
                loss = -logs.gather(1, drawn.to(logs.device)).sum()
                gradients = torch.autograd.grad(
                    loss, first_pass, retain_graph=at + 1 < len(names), allow_unused=True
                )
                for layer, (ffn, gradient) in enumerate(zip(ffns, gradients, strict=True)):
                    if gradient is None:  # the last layer, for tails alone
                        continue
                    rows = gradient[0, window.first : window.end].float()
                    moved = linear(rows, ffn.w_down.float().T).square().sum(0)
                    totals[name][layer] += moved.to(device)
                    fisher[name][layer] += linear(rows.T, rows.T).to(device)
    curvature = {name: (total / tokens).float().cpu() for name, total in totals.items()}
    return curvature, {name: (total / tokens).cpu() for name, total in fisher.items()}


def save_curvature(curvature: dict[str, Tensor], fisher: dict[str, Tensor], folder: Path) -> None:
    """Write both results of `neuron_curvature`."""
    save_tensors(curvature, folder / FILE)
    save_tensors(fisher, folder / FISHER_FILE)


def load_curvature(folder: Path) -> dict[str, Tensor]:
    """The curvature of neurons that `save_curvature` wrote."""
    return load_tensors(folder / FILE)


def load_fisher(folder: Path) -> dict[str, Tensor]:
    """The Fisher information of outputs that `save_curvature` wrote."""
    return load_tensors(folder / FISHER_FILE)


def curvature_values(energies: Tensor, curvature: Tensor, down_squares: Tensor) -> Tensor:
    """What keeping each neuron is worth, [layers, f]: half its residual energy times the curvature
    along its down column; energies are E r_j^2 |w_j|^2, curvature E (w_j . g)^2, down_squares
    |w_j|^2.
    """
    return 0.5 * energies * curvature / down_squares.clamp_min(1e-30)


def weighted_values(values: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    """Values [layers, f] of several objectives in one: each scaled to sum one, then weighted.

    The scales of the objectives differ by orders of magnitude: a context token's own prediction
    depends on its FFN far more than any answer does.
    """
    total = sum(weights.values())
    parts = [
        values[name] * (weight / total / values[name].sum().clamp_min(1e-30))
        for name, weight in weights.items()
    ]
    return torch.stack(parts).sum(0)
