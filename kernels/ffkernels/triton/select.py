"""Launches of the kernels that choose each block's neurons; no tensor's values are read here."""

import torch
import triton
from torch import Tensor

from ffkernels.triton import select_kernels
from ffkernels.triton.launch import on_device_of, unit_columns

TOKENS, COLUMNS = 32, 128  # a step of `block_means`
MEANS_WARPS = 4
VALUES_PER_THREAD = 32  # of a row of scores, which one program holds
MOST_WARPS = 16
CHUNK = 2048  # scores of a row whose positions are written at once


def sizes(width: int) -> tuple[int, int, int]:
    """Of the program that chooses from a row of `width` groups: the groups that it holds and those
    that it writes at once, powers of two; its warps, 4 to 16.
    """
    block = int(triton.next_power_of_2(width))
    warps = max(4, min(MOST_WARPS, block // (32 * VALUES_PER_THREAD)))
    return block, min(block, CHUNK), warps


def block_means(x: Tensor, block_size: int, centre: Tensor, dtype: torch.dtype) -> Tensor:
    """As `ffkernels.select.block_means`, in one launch."""
    tokens, d = x.shape
    blocks = -(-tokens // block_size)
    means = torch.empty(blocks, d, dtype=dtype, device=x.device)
    rows = unit_columns(x)
    if rows is None or not blocks:
        return means
    with on_device_of(x):
        select_kernels.block_means[(blocks, -(-d // COLUMNS))](
            rows,
            centre.float().contiguous(),
            means,
            tokens,
            d,
            block_size,
            rows.stride(0),
            BLOCK_M=TOKENS,
            BLOCK_D=COLUMNS,
            num_warps=MEANS_WARPS,
        )
    return means


def keep_largest(
    scores: Tensor,
    count: int,
    group: int,
    first: int,
    prior: Tensor | None,
    limit: float,
    offsets: Tensor | None,
) -> Tensor:
    """As `ffkernels.select.keep_largest`, in one launch."""
    shape = (len(scores), count) if offsets is None else (count,)
    kept = torch.empty(shape, dtype=torch.int32, device=scores.device)
    rows = unit_columns(scores)
    if rows is None or not kept.numel():
        return kept
    width = scores.shape[1] // group
    block, chunk, warps = sizes(width)
    with on_device_of(scores):
        select_kernels.keep_largest[(len(scores),)](
            rows,
            rows if prior is None else prior.float().contiguous(),
            kept,
            kept if offsets is None else offsets.contiguous(),
            width,
            count // group,
            first,
            float(limit),
            rows.stride(0),
            GROUP=group,
            HAS_PRIOR=prior is not None,
            RAGGED=offsets is not None,
            BLOCK=block,
            CHUNK=chunk,
            num_warps=warps,
        )
    return kept
