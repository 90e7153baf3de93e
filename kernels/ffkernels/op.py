"""The torch operator `ffkernels::sparse_gated_ffn`: one node for torch.compile, shapes known to
fake tensors.
"""

import torch
from torch import Tensor

from ffkernels import activations, backends, checks
from ffkernels.problem import Problem


@torch.library.custom_op("ffkernels::sparse_gated_ffn", mutates_args=())
def sparse_op(
    x: Tensor,
    w_gate: Tensor,
    w_up: Tensor,
    w_down_t: Tensor,
    indices: Tensor,
    block_size: int,
    hot: int,
    activation: str,
    z: Tensor | None,
    v: Tensor | None,
    c: Tensor | None,
    group: int,
    backend: str,
) -> Tensor:
    """Check the index values and run the backend; the other checks have been made by
    `ffkernels.api`.
    """
    checks.check_indices(indices, hot, w_gate.shape[0], group)
    problem = Problem(
        x,
        w_gate,
        w_up,
        w_down_t,
        indices.contiguous(),
        block_size,
        hot,
        activations.canonical(activation),
        z,
        v,
        c,
        group,
    )
    return backends.load(backend, x).sparse(problem)


@sparse_op.register_fake
def _(
    x: Tensor,
    w_gate: Tensor,
    w_up: Tensor,
    w_down_t: Tensor,
    indices: Tensor,
    block_size: int,
    hot: int,
    activation: str,
    z: Tensor | None,
    v: Tensor | None,
    c: Tensor | None,
    group: int,
    backend: str,
) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)
