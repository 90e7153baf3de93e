"""Where a program of the Triton kernels finds its tokens, its neurons and its part of h.

Both kernels tile tokens inside one block, so that a program sees one set of neurons. Position j of
a block's kept list stands for neuron `kept_rows(j)`: j itself for the hot set, an entry of
`indices`, or a member of a contiguous group. Positions past the end repeat the last neuron, with
h = 0, so that no weight load needs a mask.

The blocks of a launch share one K, or with RAGGED each has its own. h holds one block after
another, [block_size, K rounded up to whole tiles of PAD neurons] each. A ragged block begins at
tile `offsets[block] // PAD + block`: rounding up one block at a time never needs more than that,
so no prefix sum over the blocks has to be computed.
"""

import triton
import triton.language as tl

# Token tiles that run side by side before the next ones begin. With 16 tiles of 128 tokens one
# wave of an H100 reads its 16 MB of x (d = 4096) and its weight rows once from memory, whatever T.
TOKEN_TILES = tl.constexpr(16)


@triton.jit
def grouped_order(program, token_tiles, other_tiles):
    """Token tile and other tile of a program: TOKEN_TILES token tiles go through all other tiles
    before the next ones begin.
    """
    per_group = TOKEN_TILES * other_tiles
    first = program // per_group * TOKEN_TILES
    width = tl.minimum(token_tiles - first, TOKEN_TILES)
    inside = program % per_group
    return first + inside % width, inside // width


@triton.jit
def kept_rows(indices, positions, count, GROUP: tl.constexpr):
    """Neuron of each position, int64. GROUP 0: the position itself; 1: any rows; above 1: one index
    is read per group.
    """
    inside = tl.minimum(positions, count - 1)
    if GROUP == 0:
        return inside.to(tl.int64)
    elif GROUP == 1:
        return tl.load(indices + inside).to(tl.int64)
    else:
        return (tl.load(indices + inside // GROUP * GROUP) + inside % GROUP).to(tl.int64)


@triton.jit
def kept_list(offsets, block, count, RAGGED: tl.constexpr, PAD: tl.constexpr):
    """First index of a block, its number of neurons, and the tile of h at which it begins."""
    if RAGGED:
        first = tl.load(offsets + block)
        own_count = tl.load(offsets + block + 1) - first
        tile = first // PAD + block
    else:
        first = block * count
        own_count = count
        tile = block * tl.cdiv(count, PAD)
    return first, own_count, tile


@triton.jit
def token_tile(tile, tokens, block_size, tiles_per_block, BLOCK_M: tl.constexpr):
    """Block of a token tile, its token rows clamped to the block, and which of them are its own."""
    block = tile // tiles_per_block
    rows = block * block_size + (tile % tiles_per_block) * BLOCK_M + tl.arange(0, BLOCK_M)
    end = tl.minimum((block + 1) * block_size, tokens)
    return block, tl.minimum(rows, end - 1), rows < end


@triton.jit
def h_rows(h, rows, block, tile, count, block_size, PAD: tl.constexpr):
    """Pointers to the first column of the token rows of a block in h."""
    start = tile.to(tl.int64) * PAD * block_size
    return h + start + (rows - block * block_size).to(tl.int64) * (tl.cdiv(count, PAD) * PAD)
