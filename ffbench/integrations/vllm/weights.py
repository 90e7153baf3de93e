"""One set of an FFN's weights for two readers: the kernels and the model's own module."""

from typing import Any

import torch
from torch import Tensor

from ffbench.methods.float32_products import linear


def stored_in_order(mlp: Any, order: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Store the weights of a gated FFN in `order` [f] of its neurons; w_gate, w_up [f, d] and
    w_down [d, f], which are views of them.

    mlp: a module with `gate_up_proj`, whose weight [2f, d] holds the gate's rows and then those of
    the up projection, and `down_proj` [d, f], neither with a bias. Its outputs are the same up to
    rounding. A neuron's down weights are neighbours afterwards, as the kernels read them.

    Raises ValueError if the weights have other shapes.
    """
    gate_up, down = mlp.gate_up_proj.weight, mlp.down_proj.weight
    f = len(order)
    if down.shape[1] != f or gate_up.shape != (2 * f, down.shape[0]):
        raise ValueError(
            f"the plan has {f} neurons, the weights have shapes {tuple(gate_up.shape)} and "
            f"{tuple(down.shape)}"
        )
    order = order.to(down.device)
    gate_up.data = gate_up.data[torch.cat([order, order + f])]
    down.data = down.data.T[order].contiguous().T
    return gate_up.data[:f], gate_up.data[f:], down.data


def keep_unpacked(mlp: Any) -> None:
    """Let vLLM's MLP multiply by its weights as they are stored, and leave the sum over ranks to
    its caller.

    On a CPU vLLM packs weights while it starts, which would be a second copy beside what the
    kernels read. `cpu_linear` is the product that it looks up there.
    """
    for projection in (mlp.gate_up_proj, mlp.down_proj):
        projection.cpu_linear = linear
    mlp.down_proj.reduce_results = False
