"""A kernel that writes down which tiles each program of the FFN's kernels takes."""

import triton
import triton.language as tl

from ffkernels.triton.layout import grouped_order


@triton.jit
def note_order(token_at, other_at, token_tiles, other_tiles):
    """token_at and other_at, int32 [programs]: the token tile and the other tile of each."""
    program = tl.program_id(0)
    token, other = grouped_order(program, token_tiles, other_tiles)
    tl.store(token_at + program, token)
    tl.store(other_at + program, other)
