"""Triton kernels that choose each block's neurons: block means, and the largest of each row.

They take the place of a dozen of torch's launches per layer and write int32 positions, as the FFN's
kernels read them. Not measured on a card.
"""

import triton
import triton.language as tl

LEAST = tl.constexpr(-(2**31))  # the smallest int32


@triton.jit(do_not_specialize=["tokens"])
def block_means(
    x,
    centre,
    means,
    tokens,
    d,
    block_size,
    stride_x,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """means[block, columns] = mean of x over the block's tokens - centre, summed in float32.

    A grid of blocks x column tiles; the last block may be short.
    """
    block = tl.program_id(0)
    columns = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    here = columns < d
    start = block * block_size
    end = tl.minimum(start + block_size, tokens)
    total = tl.zeros((BLOCK_M, BLOCK_D), dtype=tl.float32)
    for first in range(start, end, BLOCK_M):
        rows = first + tl.arange(0, BLOCK_M)
        at = x + rows.to(tl.int64)[:, None] * stride_x + columns[None, :]
        inside = (rows < end)[:, None] & here[None, :]
        total += tl.load(at, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(total, axis=0) / (end - start).to(tl.float32)
    mean -= tl.load(centre + columns, mask=here, other=0.0)
    at = means + block.to(tl.int64) * d + columns
    tl.store(at, mean.to(means.dtype.element_ty), mask=here)


@triton.jit
def group_keys(
    scores,
    prior,
    columns,
    width,
    limit,
    GROUP: tl.constexpr,
    HAS_PRIOR: tl.constexpr,
):
    """The sums of the scores of the groups `columns` as int32 keys in the same order: the bits of a
    float, those of a negative one from the other end. LEAST for groups past `width`.
    """
    inside = columns < width
    total = tl.zeros(columns.shape, dtype=tl.float32)  # 0.0 + -0.0 is 0.0, so zeros are equal
    for member in tl.static_range(GROUP):
        at = columns * GROUP + member
        value = tl.load(scores + at, mask=inside, other=0.0).to(tl.float32)
        if HAS_PRIOR:
            value = tl.exp(tl.minimum(tl.maximum(value, -limit), limit))
            value *= tl.load(prior + at, mask=inside, other=0.0)
        total += value
    bits = total.to(tl.int32, bitcast=True)
    return tl.where(inside, tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits), LEAST)


@triton.jit
def least_kept(key, count):
    """The `count`-th largest of the int32 keys: its bits are found from the highest one down."""
    least = tl.where(tl.sum((key >= 0).to(tl.int32), axis=0) >= count, 0, LEAST)
    for step in range(31):
        higher = least + (1 << (30 - step))
        enough = tl.sum((key >= higher).to(tl.int32), axis=0) >= count
        least = tl.where(enough, higher, least)
    return least


@triton.jit
def keep_largest(
    scores,
    prior,
    kept,
    offsets,
    width,
    count,
    first,
    limit,
    stride_scores,
    GROUP: tl.constexpr,
    HAS_PRIOR: tl.constexpr,
    RAGGED: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """kept[row, :] = sorted positions of the `count` groups of a row with the largest sums.

    Of equal sums the lowest positions are kept. width and count are in groups; one program per row.
    RAGGED: a row keeps the positions offsets[row] to offsets[row + 1] of `kept`.
    It holds the keys of all BLOCK >= width groups while it finds the least one that is kept, then
    reads the scores again in chunks: holding the keys beside the sums of positions would spill.
    """
    row = tl.program_id(0).to(tl.int64)
    scores += row * stride_scores
    if RAGGED:
        begin = tl.load(offsets + row)
        kept += begin
        count = (tl.load(offsets + row + 1) - begin) // GROUP
    else:
        kept += row * count * GROUP
    key = group_keys(scores, prior, tl.arange(0, BLOCK), width, limit, GROUP, HAS_PRIOR)
    least = least_kept(key, count)
    # how many equal to the least are kept, and how many positions are written so far
    wanted = count - tl.sum((key > least).to(tl.int32), axis=0)
    written = 0
    for start in range(0, width, CHUNK):
        columns = start + tl.arange(0, CHUNK)
        part = group_keys(scores, prior, columns, width, limit, GROUP, HAS_PRIOR)
        equal = ((part == least) & (columns < width)).to(tl.int32)
        chosen = (part > least) | ((equal > 0) & (tl.cumsum(equal, axis=0) <= wanted))
        place = written + tl.cumsum(chosen.to(tl.int32), axis=0) - 1
        for member in tl.static_range(GROUP):
            at = kept + place * GROUP + member
            tl.store(at, first + columns * GROUP + member, mask=chosen)
        wanted -= tl.sum(equal, axis=0)
        written += tl.sum(chosen.to(tl.int32), axis=0)
