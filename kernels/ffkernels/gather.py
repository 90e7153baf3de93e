"""Portable backend (named "torch"): gather rows into reused buffers, multiply with torch's GEMM.

On the CPU, float32 and float64 take the kept neurons in slices so small that the gathered rows stay
in the L2 cache. Half types, and every dtype on a GPU, take all kept neurons at once: each slice of
a half type would round the running sum once more, and on a GPU would cost further launches.
"""

import threading

import torch
from torch import Tensor

from ffkernels.activations import gate_
from ffkernels.problem import Problem

# 128 gathered float32 rows of d = 4096 are 2 MB, the L2 cache of a server core.
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
    if p.indices.numel() == 0 or len(x) == 0:
        return p.add_extra(y if p.hot else y.zero_())
    flat = p.indices.flatten()
    for run in p.runs():
        if run.neurons == 0 and not p.hot:
            y[run.start : run.end].zero_()
        kept = flat[run.first : run.first + run.neurons]
        for number, (rows, contiguous) in enumerate(_slices(kept, x.dtype)):
            fresh = number == 0 and not p.hot
            _add(p, x, y, (run.start, run.end), rows, contiguous, fresh)
    return p.add_extra(y)


def _slices(kept: Tensor, dtype: torch.dtype) -> list[tuple[Tensor, slice | None]]:
    """Cut the kept neurons into slices; for each also the contiguous rows that it is, if any."""
    count = len(kept)
    if count == 0:
        return []
    if kept.device.type != "cpu":
        return [(kept, None)]  # looking for contiguous rows would make the host wait
    width = SLICE if dtype in (torch.float32, torch.float64) else count
    starts = list(range(0, count, width))
    ends = [min(start + width, count) for start in starts]
    low, high = kept[starts].tolist(), kept[[end - 1 for end in ends]].tolist()
    return [
        (kept[start:end], slice(a, b + 1) if b - a == end - start - 1 else None)
        for start, end, a, b in zip(starts, ends, low, high, strict=True)
    ]


def _hot(x: Tensor, p: Problem, y: Tensor) -> None:
    """Write the contribution of neurons 0..hot-1 for all tokens into y."""
    s = scratch()
    g = torch.mm(x, p.w_gate[: p.hot].T, out=s.get("hot_gate", x, len(x), p.hot))
    u = torch.mm(x, p.w_up[: p.hot].T, out=s.get("hot_up", x, len(x), p.hot))
    torch.mm(gate_(p.activation, g, u), p.w_down_t[: p.hot], out=y)


def _rows(name: str, w: Tensor, kept: Tensor, contiguous: slice | None) -> Tensor:
    """Return rows `kept` of w: a view if they are contiguous, else a copy in a reused buffer."""
    if contiguous is not None:
        return w[contiguous]
    return torch.index_select(w, 0, kept, out=scratch().get(name, w, len(kept), w.shape[1]))


def _add(
    p: Problem,
    x: Tensor,
    y: Tensor,
    tokens: tuple[int, int],
    kept: Tensor,
    contiguous: slice | None,
    fresh: bool,
) -> None:
    """Add the neurons `kept` to y for the tokens [start, end); overwrite y if `fresh`."""
    start, end = tokens
    rows, n, s = end - start, len(kept), scratch()
    xb, yb = x[start:end], y[start:end]
    g = torch.mm(xb, _rows("gate_w", p.w_gate, kept, contiguous).T, out=s.get("gate", x, rows, n))
    u = torch.mm(xb, _rows("up_w", p.w_up, kept, contiguous).T, out=s.get("up", x, rows, n))
    h = gate_(p.activation, g, u)
    if p.z is not None and p.v is not None:
        h.addmm_(p.z[start:end], _rows("v", p.v, kept, contiguous).T, alpha=-1)
    if p.c is not None:
        h.sub_(p.c.index_select(0, kept))
    down = _rows("down_w", p.w_down_t, kept, contiguous)
    if fresh:
        torch.mm(h, down, out=yb)
    else:
        yb.addmm_(h, down)
