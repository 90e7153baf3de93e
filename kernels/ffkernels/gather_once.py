"""Gather once, then three large products (named "gather_once"): for long blocks on a card.

Copies the rows of a block's neurons into matrices of their own, the hot ones once per call, and
multiplies with torch's GEMM, cuBLAS on a card. The copy moves 12 K d bytes of a half type in and
out of memory per block (read and written), whatever the number of its tokens; the products are at
cuBLAS' own rate. So it pays from a certain block size on (`ffkernels.triton.tiles`).

Without offsets nothing is read on the host, so a CUDA graph can capture a call; with offsets they
are read once.
"""

import torch
from torch import Tensor

from ffkernels.activations import gate_
from ffkernels.problem import Problem


class Rows:
    """Room for the rows of hot + K neurons of one matrix w [f, m]; the hot ones are copied once."""

    def __init__(self, w: Tensor, hot: int, most: int) -> None:
        self.w, self.hot = w, hot
        # without dynamic neurons the matrix itself begins with what is wanted
        self.room = w.new_empty(hot + most, w.shape[1]) if most else w
        if hot and most:
            self.room[:hot] = w[:hot]

    def of(self, kept: Tensor) -> Tensor:
        """The rows [hot + K, m] of the hot neurons and `kept` int32 [K]; valid until the next
        call.
        """
        end = self.hot + len(kept)
        if len(kept):
            torch.index_select(self.w, 0, kept, out=self.room[self.hot : end])
        return self.room[:end]


@torch.no_grad()
def sparse(p: Problem) -> Tensor:
    """Return y [T, d] in the dtype and on the device of x; each output is rounded once, and once
    more if something extra is added.
    """
    x = p.x.contiguous()
    y = torch.empty_like(x)
    kept = p.kept()
    most = max((len(one) for one in kept), default=0)
    if not len(x) or not (p.hot or most):
        return p.add_extra(y.zero_())
    gate, up, down = (Rows(w, p.hot, most) for w in (p.w_gate, p.w_up, p.w_down_t))
    for block, own in enumerate(kept):
        tokens = slice(block * p.block_size, (block + 1) * p.block_size)
        if not (p.hot or len(own)):
            y[tokens].zero_()
            continue
        h = gate_(p.activation, x[tokens] @ gate.of(own).T, x[tokens] @ up.of(own).T)
        correct(p, h[:, p.hot :], tokens, own)
        torch.mm(h, down.of(own), out=y[tokens])
    return p.add_extra(y)


def correct(p: Problem, h: Tensor, tokens: slice, kept: Tensor) -> None:
    """Take z V^T + c off the dynamic neurons' activations h [tokens, K], in place."""
    if p.z is not None and p.v is not None:
        h.addmm_(p.z[tokens], p.v.index_select(0, kept).T, alpha=-1)
    if p.c is not None:
        h.sub_(p.c.index_select(0, kept))
