"""Triton kernels: gathered gate-up with the activation in its epilogue, and gathered down.

Where a program finds its tokens, its neurons and its part of h: `ffkernels.triton.layout`.
"""

import triton
import triton.language as tl

from ffkernels.activations import CODES
from ffkernels.triton.layout import grouped_order, h_rows, kept_list, kept_rows, token_tile

SILU = tl.constexpr(CODES["silu"])
GELU_TANH = tl.constexpr(CODES["gelu_tanh"])
GELU = tl.constexpr(CODES["gelu"])
RELU = tl.constexpr(CODES["relu"])
# What differs between prompts; the hot set is one block of all tokens. Compiling anew for lengths
# that are one or a multiple of 16 would take seconds in the middle of a request.
OF_A_PROMPT = ["tokens", "token_tiles", "block_size", "tiles_per_block"]


@triton.jit
def activate(g, ACTIVATION: tl.constexpr):
    """act(g) in float32; an unknown code does not compile."""
    if ACTIVATION == SILU:
        return g * tl.sigmoid(g)
    elif ACTIVATION == GELU_TANH:
        inner = 0.7978845608028654 * (g + 0.044715 * g * g * g)
        return g * tl.sigmoid(2 * inner)  # (1 + tanh(i)) / 2 = sigmoid(2i)
    elif ACTIVATION == GELU:
        return 0.5 * g * (1 + tl.erf(g * 0.7071067811865476))
    else:
        tl.static_assert(ACTIVATION == RELU, "unknown activation code")
        return tl.maximum(g, 0.0)


@triton.jit
def multiply(total, x_at, w_at, d, k, EVEN_D: tl.constexpr, BLOCK_K: tl.constexpr):
    """Total + x W^T over d inputs; pointers to the first `k` columns of x and, transposed, of W."""
    for start in range(0, d, BLOCK_K):
        if EVEN_D:
            x_tile, w_tile = tl.load(x_at), tl.load(w_at)
        else:
            left = k < d - start
            x_tile = tl.load(x_at, mask=left[None, :], other=0.0)
            w_tile = tl.load(w_at, mask=left[:, None], other=0.0)
        total = tl.dot(x_tile, w_tile, total, input_precision="ieee")
        x_at += BLOCK_K
        w_at += BLOCK_K
    return total


@triton.jit
def multiply_twice(zeros, x_at, gate_at, up_at, d, k, EVEN_D: tl.constexpr, BLOCK_K: tl.constexpr):
    """The products x Wg^T and x Wu^T over d inputs, as `multiply`; both begin with `zeros`."""
    g, u = zeros, zeros
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
    return g, u


@triton.jit(do_not_specialize=OF_A_PROMPT)
def gate_up(
    x,
    w_gate,
    w_up,
    indices,
    offsets,
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
    token_tiles,
    neuron_tiles,
    stride_x,
    stride_gate,
    stride_up,
    up_offset,
    stride_z,
    stride_v,
    RAGGED: tl.constexpr,
    GROUP: tl.constexpr,
    ACTIVATION: tl.constexpr,
    HAS_Z: tl.constexpr,
    HAS_C: tl.constexpr,
    PAIRED: tl.constexpr,
    EVEN_D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """h[token, j] = act(x Wg_j^T) (x Wu_j^T) - (z V_j^T + c_j), 0 for positions past the count.

    A grid of token_tiles * neuron_tiles programs; sums in float32. PAIRED: gate and up rows take
    turns in one tile of 2 BLOCK_N rows, so that one product reads x once and gives both sums side
    by side; wherever the matrices are, up begins `up_offset` elements after gate.
    """
    token_program, neuron_tile = grouped_order(tl.program_id(0), token_tiles, neuron_tiles)
    block, safe, own = token_tile(token_program, tokens, block_size, tiles_per_block, BLOCK_M)
    first, kept_count, tile = kept_list(offsets, block, count, RAGGED, BLOCK_N)
    if RAGGED and neuron_tile * BLOCK_N >= kept_count:
        return
    positions = neuron_tile * BLOCK_N + tl.arange(0, BLOCK_N)
    kept = kept_rows(indices + first, positions, kept_count, GROUP)
    token_rows = safe.to(tl.int64)
    k = tl.arange(0, BLOCK_K)
    x_at = x + token_rows[:, None] * stride_x + k[None, :]
    if PAIRED:
        both = neuron_tile * BLOCK_N + tl.arange(0, 2 * BLOCK_N) // 2
        row = kept_rows(indices + first, both, kept_count, GROUP)
        is_up = tl.arange(0, 2 * BLOCK_N) % 2 == 1
        row = tl.where(is_up, up_offset + row * stride_up, row * stride_gate)
        products = tl.zeros((BLOCK_M, 2 * BLOCK_N), dtype=tl.float32)
        products = multiply(
            products, x_at, w_gate + row[None, :] + k[:, None], d, k, EVEN_D, BLOCK_K
        )
        g, u = tl.split(tl.reshape(products, (BLOCK_M, BLOCK_N, 2)))
    else:
        gate_at = w_gate + kept[None, :] * stride_gate + k[:, None]
        up_at = w_up + kept[None, :] * stride_up + k[:, None]
        g = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        g, u = multiply_twice(g, x_at, gate_at, up_at, d, k, EVEN_D, BLOCK_K)
    out = activate(g, ACTIVATION) * u
    if HAS_Z:
        r = tl.arange(0, BLOCK_R)
        for start in range(0, rank, BLOCK_R):
            left = r < rank - start
            z_at = z + token_rows[:, None] * stride_z + start + r[None, :]
            v_at = v + kept[None, :] * stride_v + start + r[:, None]
            z_tile = tl.load(z_at, mask=left[None, :], other=0.0)
            v_tile = tl.load(v_at, mask=left[:, None], other=0.0)
            out = tl.dot(-z_tile, v_tile, out, input_precision="ieee")
    if HAS_C:
        out -= tl.load(c + kept).to(tl.float32)[None, :]
    out = tl.where(positions[None, :] < kept_count, out, 0.0)
    h_at = h_rows(h, safe, block, tile, kept_count, block_size, BLOCK_N)
    tl.store(h_at[:, None] + positions[None, :], out.to(h.dtype.element_ty), mask=own[:, None])


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
    """Return y + h Wd over `count` >= 1 kept neurons.

    `h_at` points at the first columns of h, which are padded to whole tiles.

    The indices of a step are loaded one step ahead: loaded in the step itself they would sit in
    front of the weight load and drain the pipeline at each step.
    """
    j = tl.arange(0, BLOCK_K)
    kept = kept_rows(indices, j, count, GROUP)
    for start in range(0, count, BLOCK_K):
        following = kept_rows(indices, start + BLOCK_K + j, count, GROUP)
        down_at = w_down + kept[:, None] * stride_down + columns[None, :]
        if EVEN_D:
            down_tile = tl.load(down_at)
        else:
            down_tile = tl.load(down_at, mask=(columns < d)[None, :], other=0.0)
        y = tl.dot(tl.load(h_at + start), down_tile, y, input_precision="ieee")
        kept = following
    return y


@triton.jit
def add_extra(
    y,
    extra_at,
    w_extra,
    columns,
    d,
    width,
    stride_w_extra,
    EVEN_D: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Return y + extra W_extra over `width` features; `extra_at` points at the first ones."""
    j = tl.arange(0, BLOCK_K)
    w_at = w_extra + j.to(tl.int64)[:, None] * stride_w_extra + columns[None, :]
    for start in range(0, width, BLOCK_K):
        left = j < width - start
        extra_tile = tl.load(extra_at + start, mask=left[None, :], other=0.0)
        if EVEN_D:
            w_tile = tl.load(w_at, mask=left[:, None], other=0.0)
        else:
            w_tile = tl.load(w_at, mask=left[:, None] & (columns < d)[None, :], other=0.0)
        y = tl.dot(extra_tile, w_tile, y, input_precision="ieee")
        w_at += BLOCK_K * stride_w_extra
    return y


@triton.jit(do_not_specialize=OF_A_PROMPT)
def down(
    h_hot,
    h,
    w_down,
    indices,
    offsets,
    extra,
    w_extra,
    y,
    tokens,
    d,
    hot,
    count,
    extra_width,
    block_size,
    tiles_per_block,
    token_tiles,
    column_tiles,
    stride_down,
    stride_extra,
    stride_w_extra,
    stride_y,
    RAGGED: tl.constexpr,
    GROUP: tl.constexpr,
    HAS_HOT: tl.constexpr,
    HAS_DYNAMIC: tl.constexpr,
    HAS_EXTRA: tl.constexpr,
    EVEN_D: tl.constexpr,
    HOT_PAD: tl.constexpr,
    PAD: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """y[tokens, columns] = h_hot Wd_hot + h_S Wd_S + extra W_extra, summed in float32 and rounded
    once.

    h_hot [tokens, hot rounded up to HOT_PAD]; h as gate_up writes it with tiles of PAD; extra
    [tokens, extra_width] and w_extra [extra_width, d]. A grid of token_tiles * column_tiles
    programs.
    """
    token_program, column_tile = grouped_order(tl.program_id(0), token_tiles, column_tiles)
    block, safe, own = token_tile(token_program, tokens, block_size, tiles_per_block, BLOCK_M)
    columns = column_tile * BLOCK_N + tl.arange(0, BLOCK_N)
    j = tl.arange(0, BLOCK_K)[None, :]
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    if HAS_EXTRA:
        extra_at = extra + safe.to(tl.int64)[:, None] * stride_extra + j
        total = add_extra(
            total, extra_at, w_extra, columns, d, extra_width, stride_w_extra, EVEN_D, BLOCK_K
        )
    if HAS_HOT:
        hot_at = h_hot + safe.to(tl.int64)[:, None] * (tl.cdiv(hot, HOT_PAD) * HOT_PAD) + j
        total = add_down(
            total, hot_at, w_down, indices, columns, d, hot, stride_down, 0, EVEN_D, BLOCK_K
        )
    if HAS_DYNAMIC:
        first, kept_count, tile = kept_list(offsets, block, count, RAGGED, PAD)
        if kept_count > 0:
            h_at = h_rows(h, safe, block, tile, kept_count, block_size, PAD)[:, None] + j
            total = add_down(
                total,
                h_at,
                w_down,
                indices + first,
                columns,
                d,
                kept_count,
                stride_down,
                GROUP,
                EVEN_D,
                BLOCK_K,
            )
    y_at = y + safe.to(tl.int64)[:, None] * stride_y + columns[None, :]
    tl.store(y_at, total.to(y.dtype.element_ty), mask=own[:, None] & (columns < d)[None, :])
