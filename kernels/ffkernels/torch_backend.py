"""Portable backend: gather rows into reused buffers, multiply with torch's own GEMM.

float32 and float64 walk the kept neurons in slices small enough that the gathered rows stay in the
L2 cache. Half types take all kept neurons at once: every slice would round the running sum once
more.
"""

import threading

import torch
from torch import Tensor

from ffkernels.activations import gate_
from ffkernels.problem import Problem

SLICE = 128
_local = threading.local()


class Scratch:
    """Buffers that grow and are reused by later calls of the same thread."""

    def __init__(self) -> None:
        self._flat: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    def get(self, name: str, like: Tensor, rows: int, cols: int) -> Tensor:
        """Return an uninitialised [rows, cols] tensor with the dtype and device of `like`."""
        key = (name, like.dtype, like.device)
        flat = self._flat.get(key)
        if flat is None or flat.numel() < rows * cols:
            flat = self._flat[key] = torch.empty(rows * cols, dtype=like.dtype, device=like.device)
        return flat[: rows * cols].view(rows, cols)

    def fill(self, value: float) -> None:
        """Overwrite every buffer (tests fill them with NaN)."""
        for flat in self._flat.values():
            flat.fill_(value)


def scratch() -> Scratch:
    """Return the buffers of the calling thread."""
    if not hasattr(_local, "scratch"):
        _local.scratch = Scratch()
    return _local.scratch


@torch.no_grad()
def sparse(p: Problem) -> Tensor:
    """Return y [T, d] in the dtype and on the device of x."""
    x = p.x.contiguous()
    y = torch.empty_like(x)
    if p.hot:
        _hot(x, p, y)
    k = p.indices.shape[1]
    if k == 0 or len(x) == 0:
        return y if p.hot else y.zero_()
    width = SLICE if x.dtype in (torch.float32, torch.float64) else k
    for row, start, end in p.runs():
        kept = p.indices[row]
        bounds = [(s, min(s + width, k)) for s in range(0, k, width)]
        first = kept[[s for s, _ in bounds]].tolist()
        last = kept[[e - 1 for _, e in bounds]].tolist()
        for (s, e), low, high in zip(bounds, first, last, strict=True):
            solid = slice(low, high + 1) if high - low == e - s - 1 else None
            fresh = s == 0 and not p.hot
            _slice(p, x, y, (start, end), kept[s:e], solid, fresh)
    return y


def _hot(x: Tensor, p: Problem, y: Tensor) -> None:
    """Write the contribution of neurons 0..hot-1 for all tokens into y."""
    s = scratch()
    g = torch.mm(x, p.w_gate[: p.hot].T, out=s.get("hot_gate", x, len(x), p.hot))
    u = torch.mm(x, p.w_up[: p.hot].T, out=s.get("hot_up", x, len(x), p.hot))
    torch.mm(gate_(p.activation, g, u), p.w_down_t[: p.hot], out=y)


def _rows(name: str, w: Tensor, kept: Tensor, solid: slice | None) -> Tensor:
    """Return rows `kept` of w: a view where they are neighbours, else a copy in a reused buffer."""
    if solid is not None:
        return w[solid]
    return torch.index_select(w, 0, kept, out=scratch().get(name, w, len(kept), w.shape[1]))


def _slice(
    p: Problem,
    x: Tensor,
    y: Tensor,
    tokens: tuple[int, int],
    kept: Tensor,
    solid: slice | None,
    fresh: bool,
) -> None:
    """Add the neurons `kept` to y for the tokens [start, end); overwrite y instead where
    `fresh`.
    """
    start, end = tokens
    rows, n, s = end - start, len(kept), scratch()
    xb, yb = x[start:end], y[start:end]
    g = torch.mm(xb, _rows("gate_w", p.w_gate, kept, solid).T, out=s.get("gate", x, rows, n))
    u = torch.mm(xb, _rows("up_w", p.w_up, kept, solid).T, out=s.get("up", x, rows, n))
    h = gate_(p.activation, g, u)
    if p.z is not None and p.v is not None:
        h.addmm_(p.z[start:end], _rows("v", p.v, kept, solid).T, alpha=-1)
    if p.c is not None:
        h.sub_(p.c.index_select(0, kept))
    down = _rows("down_w", p.w_down_t, kept, solid)
    if fresh:
        torch.mm(h, down, out=yb)
    else:
        yb.addmm_(h, down)
