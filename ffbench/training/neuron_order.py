"""Order each layer's neurons into groups by block energies on calibration text."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.compensators import CompensatorState
from ffbench.methods.energy import residual_energy
from ffbench.methods.neuron_groups import regroup
from ffbench.runs.tensor_files import load_tensors, save_tensors
from ffbench.training.layer_walk import LayerData, walk_layers

FILE = "orders.safetensors"


@torch.no_grad()
def block_energies(data: LayerData, state: CompensatorState, block_size: int) -> Tensor:
    """Mean residual energies [n, f] of the whole blocks of a layer's windows."""
    norms = data.ffn.w_down.float().norm(dim=0)
    tensors = {name: value.to(norms.device) for name, value in state.tensors().items()}
    state = type(state).from_tensors(tensors)
    rows = []
    for x, a in data:
        whole = len(x) // block_size * block_size
        energy = residual_energy(a[:whole], state.estimate(x[:whole]), norms)
        rows.append(energy.unflatten(0, (-1, block_size)).mean(1))
    return torch.cat(rows)


def save_orders(
    model: Any,
    windows: Tensor,
    states: list[CompensatorState],
    block_size: int,
    group_size: int,
    folder: Path,
) -> None:
    """Order every layer's neurons by their energies on windows [n, T] and write the orders."""
    layers = walk_layers(model, windows, "neuron order")
    orders = {
        str(i): regroup(block_energies(data, state, block_size).cpu(), group_size)
        for i, (data, state) in enumerate(zip(layers, states, strict=True))
    }
    save_tensors(orders, folder / FILE)


def load_orders(folder: Path) -> list[Tensor]:
    """Orders [f] of the layers, as `save_orders` wrote them."""
    tensors = load_tensors(folder / FILE)
    return [tensors[str(i)] for i in range(len(tensors))]
