"""The same FFN with int8 weights: a scale per row, int8 activations, int32 sums.

Activations are rounded to int8 inside the native kernels: x and z with a scale per token, h with a
scale per token and pass over the neurons. The other backends multiply the same int8 weights with
unrounded activations. Weights take a quarter of the bytes of float32.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ffkernels import activations, checks, gather, native, reference
from ffkernels.problem import Problem, Scales

BACKENDS = ("native", "torch", "reference")
MOST = 127  # -128 has no positive counterpart; vpmaddubsw needs products of at most 127 * 127


@dataclass(frozen=True)
class Int8Rows:
    """A matrix as int8 rows [n, m] with factors float32 [n]: w[i] is about scales[i] * values[i].

    Rows are contiguous; values are -127 to 127. Raises TypeError or ValueError otherwise.
    """

    values: Tensor
    scales: Tensor

    def __post_init__(self) -> None:
        values, scales = checks.tensor("values", self.values, 2), self.scales
        checks.tensor("scales", scales, 1)
        if values.dtype != torch.int8:
            raise TypeError(f"values: expected dtype torch.int8, received {values.dtype}")
        if scales.dtype != torch.float32:
            raise TypeError(f"scales: expected dtype torch.float32, received {scales.dtype}")
        if len(scales) != len(values):
            raise ValueError(f"scales: expected {len(values)} factors, received {len(scales)}")
        if bool((values < -MOST).any()):
            raise ValueError("values: expected -127 to 127, received -128")

    def dequantized(self) -> Tensor:
        """The matrix float32 [n, m] that the rows stand for."""
        return self.values.float() * self.scales[:, None]


def quantize_rows(w: Tensor) -> Int8Rows:
    """Round each row of w [n, m] to int8 with the factor max|w[i]| / 127."""
    w = w.float()
    scales = w.abs().amax(dim=1) / MOST if w.numel() else w.new_zeros(len(w))
    divisor = torch.where(scales > 0, scales, torch.ones_like(scales))
    values = (w / divisor[:, None]).round().clamp(-MOST, MOST).to(torch.int8)
    return Int8Rows(values.contiguous(), scales)


@dataclass(frozen=True, kw_only=True)
class Int8Weights:
    """A gated FFN's weights as int8 rows, a row per neuron: gate, up, down_t [f, d], v [f, r]."""

    gate: Int8Rows
    up: Int8Rows
    down_t: Int8Rows
    v: Int8Rows | None = None


def quantize(
    w_gate: Tensor, w_up: Tensor, w_down_t: Tensor, v: Tensor | None = None
) -> Int8Weights:
    """Round the matrices of `sparse_gated_ffn`, each [f, d] (v: [f, r]), to int8 rows."""
    return Int8Weights(
        gate=quantize_rows(w_gate),
        up=quantize_rows(w_up),
        down_t=quantize_rows(w_down_t),
        v=None if v is None else quantize_rows(v),
    )


def _float(t: Tensor | None) -> Tensor | None:
    return None if t is None else t.float()


@torch.no_grad()
def sparse_gated_ffn_int8(
    x: Tensor,
    weights: Int8Weights,
    indices: Tensor,
    block_size: int,
    *,
    offsets: Tensor | None = None,
    hot: int = 0,
    activation: str = "silu",
    z: Tensor | None = None,
    c: Tensor | None = None,
    group: int = 1,
    backend: str = "auto",
) -> Tensor:
    """`sparse_gated_ffn` with int8 weights; arguments and errors as there.

    x [T, d] is any float dtype. z [T, r] needs `weights.v` and the reverse. backend: auto, native,
    torch or reference; auto takes native if it can run here. Returns y [T, d] in the dtype of x.
    """
    checks.tensor("x", x, 2)
    v = weights.v
    problem = Problem(
        x=x.float(),
        w_gate=weights.gate.values,
        w_up=weights.up.values,
        w_down_t=weights.down_t.values,
        indices=indices,
        offsets=offsets,
        block_size=block_size,
        hot=hot,
        activation=activation,
        z=_float(z),
        v=None if v is None else v.values,
        c=_float(c),
        group=group,
        scales=Scales(
            weights.gate.scales,
            weights.up.scales,
            weights.down_t.scales,
            None if v is None else v.scales,
        ),
    )
    checks.check_meta(problem)
    if checks.values_are_checked(x.device):
        checks.check_indices(indices, offsets, hot, problem.w_gate.shape[0], group)
    problem = problem.normalized(activations.canonical(activation))
    return _run(backend, problem).to(x.dtype)


def dense_gated_ffn_int8(
    x: Tensor, weights: Int8Weights, activation: str = "silu", backend: str = "auto"
) -> Tensor:
    """`dense_gated_ffn` with int8 weights; x [T, d], any float dtype. Returns y [T, d]."""
    checks.tensor("x", x, 2)
    none_dynamic = torch.empty(min(len(x), 1), 0, dtype=torch.int32, device=x.device)
    f = len(weights.gate.values)
    return sparse_gated_ffn_int8(
        x,
        weights,
        none_dynamic,
        max(len(x), 1),
        hot=f,
        activation=activation,
        backend=backend,
    )


def _run(backend: str, p: Problem) -> Tensor:
    """Run a checked problem with scales. ValueError for a backend that cannot run it."""
    if backend not in ("auto", *BACKENDS):
        raise ValueError(
            f"backend: expected auto, {', '.join(BACKENDS)} for int8 weights; received {backend!r}"
        )
    reason = native.refusal(p.x)
    if backend == "native" and reason:
        raise ValueError(
            f"backend: expected one that can run this input, received 'native': {reason}"
        )
    if backend == "native" or (backend == "auto" and not reason):
        return native.sparse(p)
    return (reference if backend == "reference" else gather).sparse(p.dequantized())
