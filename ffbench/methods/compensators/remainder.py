"""R-Sparse's low-rank remainder for skipped neurons (arXiv 2504.19449), training-free."""

from collections.abc import Callable, Sequence

from torch import Tensor

from ffbench.methods.low_rank import truncated_svd

PARTS = (
    "neuron_remainder_gate",
    "remainder_gate",
    "neuron_remainder_up",
    "remainder_up",
    "neuron_remainder_down",
    "remainder_down",
)


def remainder_factors(w_gate: Tensor, w_up: Tensor, w_down: Tensor, rank: int) -> dict[str, Tensor]:
    """Truncated SVDs of the three matrices, as a layer's `extra` tensors (PARTS).

    Raises ValueError when the rank is not in 1..min(d, f).
    """
    if not 1 <= rank <= min(w_gate.shape):
        raise ValueError(
            f"compensator.rank: {rank} is not in 1..{min(w_gate.shape)} (the smaller side of the FFN)"
        )
    gate, up, down = (
        truncated_svd(w_gate, rank),
        truncated_svd(w_up, rank),
        truncated_svd(w_down, rank),
    )
    return dict(zip(PARTS, (*gate, *up, down[1].T.contiguous(), down[0].contiguous()), strict=True))


def remainder_flops(extra: dict[str, Tensor]) -> float:
    """FLOPs a token: both factors of three matrices for all neurons."""
    (f, rank), d = extra["neuron_remainder_gate"].shape, extra["remainder_gate"].shape[1]
    return 6.0 * rank * (d + f)


def remainder(
    extra: dict[str, Tensor],
    act: Callable[[Tensor], Tensor],
    x: Tensor,
    kept: Sequence[Tensor],
    hot: int,
    block: int,
) -> Tensor:
    """What the neurons outside `kept` add by the low-rank weights, [T, d].

    x [T, d]; kept: of each block, the neurons beside the first `hot` ones.

    R-Sparse sends the large inputs of a matrix through the matrix and the rest through its
    truncated SVD. Here the skipped neurons are the rest: their gate, up and down go through the
    SVDs (our transfer to blocks of tokens).
    """
    g, gr, u, ur, dn, dl = (extra[name].to(x.dtype) for name in PARTS)
    hidden = act((x @ gr.T) @ g.T) * ((x @ ur.T) @ u.T)
    hidden[:, :hot] = 0
    for row, start in zip(kept, range(0, len(x), block), strict=True):
        hidden[start : start + block].index_fill_(1, row, 0)
    return (hidden @ dn) @ dl.T
