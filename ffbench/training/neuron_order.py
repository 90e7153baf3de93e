"""Collect block energies on calibration text and order each layer's neurons into groups."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ffbench.methods.compensators.surrogate import Surrogate, residual_energy
from ffbench.methods.neuron_groups import regroup
from ffbench.training.layer_walk import LayerData, walk_layers

FILE = "orders.safetensors"


@torch.no_grad()
def block_energies(data: LayerData, surrogate: Surrogate, block_size: int) -> Tensor:
    """Mean residual energies [n, f] of the whole blocks of a layer's windows."""
    norms = data.ffn.w_down.float().norm(dim=0)
    rows = []
    for x, a in data:
        whole = len(x) // block_size * block_size
        energy = residual_energy(a[:whole], surrogate.estimate(x[:whole]), norms)
        rows.append(energy.unflatten(0, (-1, block_size)).mean(1))
    return torch.cat(rows)


def save_orders(
    model: Any,
    windows: Tensor,
    surrogates: list[Surrogate],
    block_size: int,
    group: int,
    folder: Path,
) -> None:
    """Order every layer's neurons by their energies on windows [n, T] and write the orders."""
    layers = walk_layers(model, windows, "regroup")
    orders = {
        str(i): regroup(block_energies(data, surrogate, block_size), group)
        for i, (data, surrogate) in enumerate(zip(layers, surrogates, strict=True))
    }
    save_file(orders, folder / FILE)


def load_orders(folder: Path) -> list[Tensor]:
    """Orders [f] of the layers, as `save_orders` wrote them."""
    tensors = load_file(folder / FILE)
    return [tensors[str(i)] for i in range(len(tensors))]
