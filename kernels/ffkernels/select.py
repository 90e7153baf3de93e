"""Choose each block's neurons on the device: block means, and the largest scores of each block.

Two torch operators, each one launch on a CUDA card (`ffkernels.triton.select`) and a few of torch's
operations elsewhere: `ffkernels::block_means` and `ffkernels::keep_largest`. Neither reads a value
on the host.
"""

import torch
from torch import Tensor

from ffkernels import backends

_library = torch.library.Library("ffkernels", "FRAGMENT")
TAGS = (torch.Tag.pt2_compliant_tag,)


def keep_largest(
    scores: Tensor,
    count: int,
    *,
    group: int = 1,
    first: int = 0,
    prior: Tensor | None = None,
    limit: float = 0.0,
    offsets: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """The sorted positions of each row's largest scores, int32 [n, count], counted from `first`.

    With `offsets` each row keeps a number of its own, and the result is int32 [count], one row
    after another.

    Args:
        scores: [n, m], float32, or a half type, columns contiguous. With `prior` they are
            logarithms: a score is prior_j * exp(scores_ij), the exponent cut to -limit..limit.
        count: positions kept of each row, 0 to m; with `offsets` of all rows together.
        group: whole groups of that many neighbours are kept, by the sums of their scores; it
            divides m and count.
        first: added to each position.
        prior: float32 [m], not negative.
        limit: of the exponent, with `prior`.
        offsets: int32 [n + 1], starting at 0 and ending at count, multiples of `group`: row i keeps
            offsets[i + 1] - offsets[i] positions, 0 to m. Not read on the host, so not checked.
        backend: auto, triton or torch.

    Of equal scores those at the lowest positions are kept. Scores must not be NaN.

    Raises ValueError for a count or group outside its domain, or a backend that cannot run.

    """
    width = scores.shape[1]
    if group < 1 or width % group or count % group:
        raise ValueError(f"group: {group} does not divide {width} scores and a count of {count}")
    most, meaning = (width, "a row") if offsets is None else (scores.numel(), "all rows")
    if not 0 <= count <= most:
        raise ValueError(f"count: expected 0 to {most} (scores of {meaning}), received {count}")
    if offsets is not None and (
        offsets.shape != (len(scores) + 1,) or offsets.dtype != torch.int32
    ):
        raise ValueError(
            f"offsets: expected int32 [{len(scores) + 1}], received {offsets.dtype} "
            f"{list(offsets.shape)}"
        )
    return torch.ops.ffkernels.keep_largest(  # type: ignore[no-any-return]
        scores, count, group, first, prior, limit, offsets, backend
    )


def block_means(
    x: Tensor, block_size: int, centre: Tensor, dtype: torch.dtype, backend: str = "auto"
) -> Tensor:
    """Mean of each block of `block_size` tokens less `centre`, summed in float32: `dtype` [n, d].

    x [T, d], columns contiguous; the last block may be short; centre float32 [d]. backend: auto,
    triton or torch. Raises ValueError for a block size below 1.
    """
    if block_size < 1:
        raise ValueError(f"block_size: expected at least 1, received {block_size}")
    return torch.ops.ffkernels.block_means(  # type: ignore[no-any-return]
        x, block_size, centre, dtype, backend
    )


def torch_keep_largest(
    scores: Tensor,
    count: int,
    group: int,
    first: int,
    prior: Tensor | None,
    limit: float,
    offsets: Tensor | None = None,
) -> Tensor:
    """`keep_largest` in torch's operations."""
    if prior is not None:
        scores = prior * scores.float().clamp(-limit, limit).exp()
    sums = scores if group == 1 else scores.float().unflatten(1, (-1, group)).sum(-1)
    ranked = sums.sort(dim=1, descending=True, stable=True).indices
    if offsets is None:
        kept = ranked[:, : count // group].sort(dim=1).values
    else:
        kept = _by_row(ranked, offsets // group, count // group)
    if group > 1:
        inside = torch.arange(group, device=kept.device)
        kept = (kept.unsqueeze(-1) * group + inside).flatten(-2)
    return (kept + first).int()


def _by_row(ranked: Tensor, offsets: Tensor, total: int) -> Tensor:
    """The sorted first entries of each row of `ranked` [n, m], a permutation of 0..m-1: as many as
    `offsets` [n + 1] say, one row after another, int64 [total].
    """
    place = torch.arange(ranked.shape[1], device=ranked.device).expand_as(ranked)
    rank = torch.empty_like(ranked).scatter_(1, ranked, place)
    kept = (rank < offsets.diff()[:, None]).flatten()
    # those that are not kept end in one more entry, which is dropped
    there = (kept.cumsum(0) - 1).masked_fill(~kept, total)
    return ranked.new_empty(total + 1).scatter_(0, there, place.flatten())[:total]


def torch_block_means(x: Tensor, block_size: int, centre: Tensor, dtype: torch.dtype) -> Tensor:
    """`block_means` in torch's operations."""
    whole = len(x) // block_size * block_size
    means = [x[:whole].unflatten(0, (-1, block_size)).mean(1, dtype=torch.float32)] if whole else []
    if whole < len(x):
        means.append(x[whole:].mean(0, keepdim=True, dtype=torch.float32))
    joined = means[0] if len(means) == 1 else torch.cat([centre.new_empty(0, x.shape[1]), *means])
    return (joined - centre).to(dtype)


def _runs_in_triton(x: Tensor, backend: str) -> bool:
    """Whether Triton runs a call on x. ValueError for a named backend that cannot."""
    if backend == "torch" or (backend == "auto" and x.device.type != "cuda"):
        return False
    if backend not in ("auto", "triton"):
        raise ValueError(f"backend: expected auto, triton or torch; received {backend!r}")
    reason = backends.refusal("triton", x)
    if reason and backend == "triton":
        raise ValueError(f"backend: triton cannot run this input: {reason}")
    return reason is None


def _keep_largest(
    scores: Tensor,
    count: int,
    group: int,
    first: int,
    prior: Tensor | None,
    limit: float,
    offsets: Tensor | None,
    backend: str,
) -> Tensor:
    if _runs_in_triton(scores, backend):
        from ffkernels.triton import select

        return select.keep_largest(scores, count, group, first, prior, limit, offsets)
    return torch_keep_largest(scores, count, group, first, prior, limit, offsets)


def _block_means(
    x: Tensor, block_size: int, centre: Tensor, dtype: torch.dtype, backend: str
) -> Tensor:
    if _runs_in_triton(x, backend):
        from ffkernels.triton import select

        return select.block_means(x, block_size, centre, dtype)
    return torch_block_means(x, block_size, centre, dtype)


def _fake_largest(
    scores: Tensor,
    count: int,
    group: int,
    first: int,
    prior: Tensor | None,
    limit: float,
    offsets: Tensor | None,
    backend: str,
) -> Tensor:
    shape = (scores.shape[0], count) if offsets is None else (count,)
    return scores.new_empty(shape, dtype=torch.int32)


def _fake_means(x: Tensor, block_size: int, centre: Tensor, dtype: torch.dtype, _: str) -> Tensor:
    return x.new_empty(-(-x.shape[0] // block_size), x.shape[1], dtype=dtype)


_library.define(
    "keep_largest(Tensor scores, SymInt count, SymInt group, SymInt first, Tensor? prior, "
    "float limit, Tensor? offsets, str backend) -> Tensor",
    tags=TAGS,
)
_library.define(
    "block_means(Tensor x, SymInt block_size, Tensor centre, ScalarType dtype, str backend) "
    "-> Tensor",
    tags=TAGS,
)
_library.impl("keep_largest", _keep_largest, "CompositeExplicitAutograd")
_library.impl("block_means", _block_means, "CompositeExplicitAutograd")
torch.library.register_fake("ffkernels::keep_largest", _fake_largest, lib=_library)
torch.library.register_fake("ffkernels::block_means", _fake_means, lib=_library)
