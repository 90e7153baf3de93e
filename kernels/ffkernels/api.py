"""The public functions: check the arguments, pick a backend, run it."""

import torch
from torch import Tensor

from ffkernels import checks
from ffkernels.backends import available_backends
from ffkernels.op import sparse_op
from ffkernels.problem import Problem

__all__ = ["available_backends", "dense_gated_ffn", "sparse_gated_ffn"]


def sparse_gated_ffn(
    x: Tensor,
    w_gate: Tensor,
    w_up: Tensor,
    w_down_t: Tensor,
    indices: Tensor,
    block_size: int,
    *,
    hot: int = 0,
    activation: str = "silu",
    z: Tensor | None = None,
    v: Tensor | None = None,
    c: Tensor | None = None,
    group: int = 1,
    backend: str = "auto",
) -> Tensor:
    """Gated FFN in which each block of tokens keeps its own neurons.

    With H the neurons 0..hot-1 and S the index row of a token's block:
    y = (act(x Wg_H^T) * (x Wu_H^T)) Wd_H + (act(x Wg_S^T) * (x Wu_S^T) - (z V_S^T + c_S)) Wd_S.

    Args:
        x: [T, d], any strides; float32, bfloat16, float16 or float64. w_gate, w_up: [f, d], rows
        contiguous, dtype and device of x. w_down_t: [f, d], the transposed down matrix, rows
        contiguous. indices: int64 [ceil(T / block_size), K]; rows strictly increasing, values in
        [hot, f). block_size: tokens per block, at least 1; the last block may be short. hot:
        neurons kept for every block, 0 to f. activation: silu, gelu_tanh (or gelu_pytorch_tanh),
        gelu, relu. z, v: [T, r] and [f, r], both or neither; c: [f]. Correction of the dynamic
        neurons only. group: above 1 promises that every index row is made of whole groups, `group`
        neighbours starting at a multiple of `group`; hot and K are multiples of it too. Backends
        then read rows in place. backend: auto, or a name from `available_backends`.

    Returns:
        y [T, d], contiguous, dtype of x. Zeros where nothing is kept.

    Raises: TypeError, ValueError: an argument is outside what is said above; the text names the
    argument, what was expected and what was received. Inference only: tensors that need a gradient
    are refused.

    """
    checks.check_meta(
        Problem(x, w_gate, w_up, w_down_t, indices, block_size, hot, activation, z, v, c, group)
    )
    return sparse_op(
        x, w_gate, w_up, w_down_t, indices, block_size, hot, activation, z, v, c, group, backend
    )


def dense_gated_ffn(
    x: Tensor,
    w_gate: Tensor,
    w_up: Tensor,
    w_down_t: Tensor,
    activation: str = "silu",
    backend: str = "auto",
) -> Tensor:
    """Dense gated FFN, (act(x w_gate^T) * (x w_up^T)) w_down_t: the same as keeping every neuron.

    x [T, d]; w_gate, w_up, w_down_t [f, d], rows contiguous, dtype and device of x; `activation`
    and `backend` as in `sparse_gated_ffn`. Returns [T, d]. Raises TypeError or ValueError as
    `sparse_gated_ffn` does.
    """
    checks.tensor("x", x, 2)
    checks.tensor("w_gate", w_gate, 2)
    none_dynamic = torch.empty(min(len(x), 1), 0, dtype=torch.int64, device=x.device)
    return sparse_gated_ffn(
        x,
        w_gate,
        w_up,
        w_down_t,
        none_dynamic,
        max(len(x), 1),
        hot=w_gate.shape[0],
        activation=activation,
        backend=backend,
    )
