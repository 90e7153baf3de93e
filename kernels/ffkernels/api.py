"""The public functions: check the arguments, choose a backend, run it."""

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
    offsets: Tensor | None = None,
    hot: int = 0,
    activation: str = "silu",
    z: Tensor | None = None,
    v: Tensor | None = None,
    c: Tensor | None = None,
    extra: Tensor | None = None,
    w_extra: Tensor | None = None,
    group: int = 1,
    backend: str = "auto",
) -> Tensor:
    """Gated FFN in which each block of tokens keeps its own neurons.

    With H the neurons 0..hot-1 and S the neurons that a token's block keeps:
    y = (act(x Wg_H^T) * (x Wu_H^T)) Wd_H + (act(x Wg_S^T) * (x Wu_S^T) - (z V_S^T + c_S)) Wd_S
    + extra W_extra.

    Args:
        x: [T, d], any strides; float32, bfloat16, float16 or float64.
        w_gate: [f, d], rows contiguous, dtype and device of x.
        w_up: as w_gate.
        w_down_t: [f, d], the transposed down matrix; otherwise as w_gate.
        indices: int32 or int64. Either [blocks, K], or, with `offsets`, [sum of K]: the kept
            neurons of one block after another. blocks is ceil(T / block_size). The entries of a
            block are strictly increasing, in [hot, f).
        block_size: tokens per block, at least 1; the last block may be short.
        offsets: int32 or int64 [blocks + 1], starting at 0 and ending at sum of K: block b keeps
            indices[offsets[b] : offsets[b + 1]]. Each block then has a K of its own, from 0 (only
            the hot neurons) to f - hot (dense).
        hot: neurons kept for every block, 0 to f.
        activation: silu, gelu_tanh (or gelu_pytorch_tanh), gelu, relu.
        z: [T, r] with v: [f, r], both or neither; c: [f]. Correction of the dynamic neurons only.
        v: see z.
        c: see z.
        extra: [T, q] with w_extra: [q, d], both or neither; features of each token that are
            multiplied into the output whatever its block keeps; q may be 0.
        w_extra: see extra; rows contiguous.
        group: above 1 promises that every block keeps whole groups, `group` neighbours starting at
            a multiple of `group`; hot and K are multiples of it too. Backends then read rows in
            place.
        backend: auto, or a name from `available_backends`.

    Returns:
        y [T, d], contiguous, dtype of x. Zeros, plus what is extra, for blocks that keep nothing.

    Raises:
        TypeError, ValueError: an argument is outside its domain; the text names the argument, what
            was expected and what was received. Index values on a GPU are checked only with
            FFKERNELS_CHECK=1, because reading them makes the host wait. Inference only: tensors
            that need a gradient are refused.

    """
    checks.check_meta(
        Problem(
            x=x,
            w_gate=w_gate,
            w_up=w_up,
            w_down_t=w_down_t,
            indices=indices,
            offsets=offsets,
            block_size=block_size,
            hot=hot,
            activation=activation,
            z=z,
            v=v,
            c=c,
            extra=extra,
            w_extra=w_extra,
            group=group,
        )
    )
    return sparse_op(  # type: ignore[no-any-return]
        x,
        w_gate,
        w_up,
        w_down_t,
        indices,
        offsets,
        block_size,
        hot,
        activation,
        z,
        v,
        c,
        extra,
        w_extra,
        group,
        backend,
    )


def dense_gated_ffn(
    x: Tensor,
    w_gate: Tensor,
    w_up: Tensor,
    w_down_t: Tensor,
    activation: str = "silu",
    backend: str = "auto",
) -> Tensor:
    """Dense gated FFN, (act(x w_gate^T) * (x w_up^T)) w_down_t: every neuron is hot.

    x [T, d]; w_gate, w_up, w_down_t [f, d], rows contiguous, dtype and device of x; `activation`
    and `backend` as in `sparse_gated_ffn`. Returns [T, d]. Raises TypeError or ValueError as
    `sparse_gated_ffn` does.
    """
    checks.tensor("x", x, 2)
    checks.tensor("w_gate", w_gate, 2)
    none_dynamic = torch.empty(min(len(x), 1), 0, dtype=torch.int32, device=x.device)
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
