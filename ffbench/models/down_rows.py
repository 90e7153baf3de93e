"""The down matrix in the order that a kernel gathers from: one row per neuron."""

from collections.abc import Iterator
from contextlib import contextmanager

from ffbench.models.adapters import GatedFFN


@contextmanager
def stored_by_neuron(ffn: GatedFFN, keep: bool = False) -> Iterator[None]:
    """Inside, the down weight [d, f] of an FFN on a card is stored with a neuron's column in one
    piece, so that `w_down.T` [f, d] is what the kernels read and no second copy is needed.

    The weight is the same parameter with the same values, and is stored as before afterwards.
    keep: another model reads the old storage meanwhile; it is kept and put back. On a CPU nothing
    is changed: products with the other storage would round differently there. Nor is it for a
    routed expert, whose weight is a view: another storage would cut it off from its module's
    parameter.
    """
    weight = ffn.w_down
    if weight.device.type == "cpu" or ffn.expert is not None or weight.T.is_contiguous():
        yield
        return
    old = weight.data if keep else None
    weight.data = weight.data.T.contiguous().T
    try:
        yield
    finally:
        weight.data = weight.data.contiguous() if old is None else old
