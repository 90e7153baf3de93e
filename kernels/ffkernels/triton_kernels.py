"""Triton kernels: gathered gate-up with the activation in its epilogue, and gathered down.

Both tile tokens inside one block, so that a program sees one set of neurons. Position j of the kept
list stands for neuron `row(j)`: j itself for the hot set, an entry of `indices` for any rows, or a
member of a contiguous group. Positions past the end repeat the last neuron, with h = 0: no weight
load needs a mask. Token tiles run fastest over the grid and index rows are sorted, so neighbouring
programs read nearly the same weight rows and share them in L2.
"""

import triton
import triton.language as tl

SILU = tl.constexpr(0)
GELU_TANH = tl.constexpr(1)
GELU = tl.constexpr(2)
RELU = tl.constexpr(3)


@triton.jit
def activate(g, ACTIVATION: tl.constexpr):
    """act(g) in float32."""
    if ACTIVATION == SILU:
        return g * tl.sigmoid(g)
    elif ACTIVATION == GELU_TANH:
        inner = 0.7978845608028654 * (g + 0.044715 * g * g * g)
        return g * tl.sigmoid(2 * inner)  # (1 + tanh(i)) / 2 = sigmoid(2i)
    elif ACTIVATION == GELU:
        return 0.5 * g * (1 + tl.erf(g * 0.7071067811865476))
    else:
        return tl.maximum(g, 0.0)


@triton.jit
def kept_rows(indices, positions, count, GROUP: tl.constexpr):
    """Neuron of each position (int64). GROUP 0: the position itself; 1: any rows; else one index is
    read a group.
    """
    inside = tl.minimum(positions, count - 1)
    if GROUP == 0:
        return inside.to(tl.int64)
    elif GROUP == 1:
        return tl.load(indices + inside)
    else:
        return tl.load(indices + inside // GROUP * GROUP) + inside % GROUP


@triton.jit
def token_tile(tile, tokens, block_size, tiles_per_block, BLOCK_M: tl.constexpr):
    """Block of a token tile, its token rows, the rows to load, and which rows are its own."""
    block = tile // tiles_per_block
    rows = block * block_size + (tile % tiles_per_block) * BLOCK_M + tl.arange(0, BLOCK_M)
    own = rows < tl.minimum((block + 1) * block_size, tokens)
    return block, rows, tl.minimum(rows, tokens - 1).to(tl.int64), own


@triton.jit
def gate_up(
    x,
    w_gate,
    w_up,
    indices,
    z,
    v,
    c,
    h,
    tokens,
    d,
    count,
    rank,
    block_size,
    tiles_per_block,
    first_column,
    stride_x,
    stride_gate,
    stride_up,
    stride_z,
    stride_v,
    stride_h,
    stride_indices,
    GROUP: tl.constexpr,
    ACTIVATION: tl.constexpr,
    HAS_Z: tl.constexpr,
    HAS_C: tl.constexpr,
    EVEN_D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """h[tokens, first_column + j] = act(x Wg_j^T) (x Wu_j^T) - (z V_j^T + c_j), 0 for positions
    past `count`.

    Grid: (token tiles, neuron tiles). h has room for whole neuron tiles; accumulation is in
    float32.
    """
    block, rows, safe, own = token_tile(
        tl.program_id(0), tokens, block_size, tiles_per_block, BLOCK_M
    )
    positions = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    kept = kept_rows(indices + block.to(tl.int64) * stride_indices, positions, count, GROUP)
    k = tl.arange(0, BLOCK_K)
    x_at = x + safe[:, None] * stride_x + k[None, :]
    gate_at = w_gate + kept[None, :] * stride_gate + k[:, None]
    up_at = w_up + kept[None, :] * stride_up + k[:, None]
    g = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    u = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, d, BLOCK_K):
        if EVEN_D:
            x_tile, gate_tile, up_tile = tl.load(x_at), tl.load(gate_at), tl.load(up_at)
        else:
            left = k < d - start
            x_tile = tl.load(x_at, mask=left[None, :], other=0.0)
            gate_tile = tl.load(gate_at, mask=left[:, None], other=0.0)
            up_tile = tl.load(up_at, mask=left[:, None], other=0.0)
        g = tl.dot(x_tile, gate_tile, g, input_precision="ieee")
        u = tl.dot(x_tile, up_tile, u, input_precision="ieee")
        x_at += BLOCK_K
        gate_at += BLOCK_K
        up_at += BLOCK_K
    out = activate(g, ACTIVATION) * u
    if HAS_Z:
        r = tl.arange(0, BLOCK_R)
        for start in range(0, rank, BLOCK_R):
            left = r < rank - start
            z_tile = tl.load(
                z + safe[:, None] * stride_z + start + r[None, :], mask=left[None, :], other=0.0
            )
            v_tile = tl.load(
                v + kept[None, :] * stride_v + start + r[:, None], mask=left[:, None], other=0.0
            )
            out = tl.dot(-z_tile, v_tile, out, input_precision="ieee")
    if HAS_C:
        out -= tl.load(c + kept).to(tl.float32)[None, :]
    out = tl.where(positions[None, :] < count, out, 0.0)
    tl.store(
        h + rows.to(tl.int64)[:, None] * stride_h + first_column + positions[None, :],
        out.to(h.dtype.element_ty),
        mask=own[:, None],
    )


@triton.jit
def add_down(
    y,
    h_at,
    w_down,
    indices,
    columns,
    d,
    count,
    stride_down,
    GROUP: tl.constexpr,
    EVEN_D: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Y + h Wd over `count` kept neurons; `h_at` points at the first columns of h, padded to whole
    tiles.
    """
    j = tl.arange(0, BLOCK_K)
    for start in range(0, count, BLOCK_K):
        kept = kept_rows(indices, start + j, count, GROUP)
        down_at = w_down + kept[:, None] * stride_down + columns[None, :]
        down_tile = (
            tl.load(down_at) if EVEN_D else tl.load(down_at, mask=(columns < d)[None, :], other=0.0)
        )
        y = tl.dot(tl.load(h_at + start), down_tile, y, input_precision="ieee")
    return y


@triton.jit
def down(
    h,
    w_down,
    indices,
    y,
    tokens,
    d,
    hot,
    count,
    block_size,
    tiles_per_block,
    first_column,
    stride_h,
    stride_down,
    stride_indices,
    stride_y,
    GROUP: tl.constexpr,
    HAS_HOT: tl.constexpr,
    HAS_DYNAMIC: tl.constexpr,
    EVEN_D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """y[tokens, columns] = h_hot Wd_hot + h_S Wd_S, summed in float32 and rounded once.

    Grid: (token tiles, column tiles).
    """
    block, rows, safe, own = token_tile(
        tl.program_id(0), tokens, block_size, tiles_per_block, BLOCK_M
    )
    columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    h_at = h + safe[:, None] * stride_h + tl.arange(0, BLOCK_K)[None, :]
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    if HAS_HOT:
        total = add_down(
            total, h_at, w_down, indices, columns, d, hot, stride_down, 0, EVEN_D, BLOCK_K
        )
    if HAS_DYNAMIC:
        own_set = indices + block.to(tl.int64) * stride_indices
        total = add_down(
            total,
            h_at + first_column,
            w_down,
            own_set,
            columns,
            d,
            count,
            stride_down,
            GROUP,
            EVEN_D,
            BLOCK_K,
        )
    tl.store(
        y + rows.to(tl.int64)[:, None] * stride_y + columns[None, :],
        total.to(y.dtype.element_ty),
        mask=own[:, None] & (columns < d)[None, :],
    )
