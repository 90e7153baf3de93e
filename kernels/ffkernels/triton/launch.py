"""Launches of the Triton kernels for one call.

`gate_up` writes h in the dtype of x; `down` sums the hot and the dynamic part in float32 and rounds
once. Nothing here reads a tensor's values, so a CUDA graph can capture a call. With
TRITON_INTERPRET=1 the same kernels run on CPU tensors (float32 and float16), for tests.
"""

import contextlib
from typing import Any

import torch
from torch import Tensor
from triton import knobs

from ffkernels.activations import CODES
from ffkernels.problem import Problem
from ffkernels.triton import kernels, tiles
from ffkernels.triton.tiles import Tile

CARD_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
INTERPRETER_DTYPES = (torch.float16, torch.float32)
CONTIGUOUS, ANY_ROWS = 0, 1  # the kernels' GROUP without groups
GROUPS = (32, 16)


def unavailable() -> str | None:
    """Why this backend cannot run here, or None."""
    if knobs.runtime.interpret or torch.cuda.is_available():
        return None
    return "no CUDA device"


def refusal(x: Tensor) -> str | None:
    """Why this backend cannot take x, or None."""
    if knobs.runtime.interpret:
        if x.dtype not in INTERPRETER_DTYPES:
            return f"the Triton interpreter computes float16 and float32 only, x is {x.dtype}"
        return None
    if x.device.type != "cuda":
        return f"it runs on CUDA devices, x is on {x.device}"
    if x.dtype not in CARD_DTYPES:
        return f"it takes float16, bfloat16 and float32, x is {x.dtype}"
    try:
        tiles.architecture(torch.cuda.get_device_capability(x.device))
    except ValueError as error:
        return str(error)
    return None


def better(x: Tensor, block_size: int | None) -> str | None:
    """The backend that is faster for blocks of so many tokens, or None (see `tiles.path`)."""
    if block_size is None or knobs.runtime.interpret:
        return None
    arch = tiles.architecture(torch.cuda.get_device_capability(x.device))
    path = tiles.path(arch, x.dtype == torch.float32, block_size)
    return None if path == tiles.GATHERED else path


def on_device_of(x: Tensor) -> Any:
    """Context in which launches go to the card of x."""
    return torch.cuda.device(x.device) if x.device.type == "cuda" else contextlib.nullcontext()


def cdiv(count: int, size: int) -> int:
    """How many tiles of `size` hold `count`."""
    return -(-count // size)


def unit_columns(t: Tensor | None) -> Tensor | None:
    """Return t [n, m] with stride 1 along a row; copied if it is stored otherwise."""
    return t if t is None or t.stride(1) == 1 else t.contiguous()


def distance(first: Tensor, second: Tensor) -> int:
    """Elements from the first element of a tensor to that of another of the same type, which may
    lie in other memory.
    """
    return (second.data_ptr() - first.data_ptr()) // first.element_size()


def row_layout(group: int) -> int:
    """The kernels' GROUP for the op's `group`: the largest group size that they know and that
    divides it, else any rows.
    """
    return next((width for width in GROUPS if group % width == 0), ANY_ROWS)


def options(tile: Tile) -> dict[str, Any]:
    """Launch options of a tile."""
    return {"num_warps": tile.warps, "num_stages": tile.stages, "enable_fp_fusion": True}


class Launch:
    """One call: its tiles, its scratch buffers and the launches on them.

    h_hot [tokens, hot rounded up to whole tiles]; h is flat, see `ffkernels.triton.layout`.
    """

    def __init__(self, p: Problem, arch: int) -> None:
        self.p, float32 = p, p.x.dtype == torch.float32
        self.x = p.x if p.x.stride(1) == 1 else p.x.contiguous()
        self.tokens, self.d = self.x.shape
        self.ragged, self.group = p.offsets is not None, row_layout(p.group)
        self.up_tile = tiles.gate_up_tile(arch, float32, p.block_size)
        self.hot_tile = tiles.gate_up_tile(arch, float32, max(self.tokens, 1))
        self.down_tile = tiles.down_tile(arch, float32, p.block_size)
        entries, pad = p.indices.numel(), self.up_tile.n
        # K of every block; with offsets, the most that any block can keep.
        self.most = min(entries, p.w_gate.shape[0] - p.hot) if self.ragged else p.indices.shape[-1]
        neuron_tiles = entries // pad + p.blocks if self.ragged else p.blocks * cdiv(self.most, pad)
        self.h = self.buffer(min(p.block_size, self.tokens) * neuron_tiles * pad)
        self.h_hot = self.buffer(self.tokens * cdiv(p.hot, self.hot_tile.n) * self.hot_tile.n)

    def buffer(self, elements: int) -> Tensor:
        """Uninitialised scratch in the dtype and on the device of x; never empty."""
        return torch.empty(max(elements, 1), dtype=self.x.dtype, device=self.x.device)

    def correction(self, group: int) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """z, v and c for the neurons of a launch: only dynamic neurons are corrected."""
        p, dynamic = self.p, group != CONTIGUOUS
        c = p.c.contiguous() if dynamic and p.c is not None else None
        if not dynamic or p.z is None or not p.z.shape[1]:
            return None, None, c
        return unit_columns(p.z), unit_columns(p.v), c

    def gate_up(self, h: Tensor, tile: Tile, block_size: int, count: int, group: int) -> None:
        """Fill h with `count` neurons per block, padded to whole tiles with zeros.

        With offsets `count` is the most that a block keeps: programs past a block's own K do
        nothing.
        """
        p, ragged = self.p, self.ragged and group != CONTIGUOUS
        z, v, c = self.correction(group)
        has_z, has_c = z is not None, c is not None
        # The kernel needs a pointer for each argument, also for those that it does not read.
        z, v = (self.x if t is None else t for t in (z, v))
        per_block = cdiv(block_size, tile.m)
        token_tiles, neuron_tiles = cdiv(self.tokens, block_size) * per_block, cdiv(count, tile.n)
        kernels.gate_up[(token_tiles * neuron_tiles,)](
            self.x,
            p.w_gate,
            p.w_up,
            p.indices,
            p.offsets if p.offsets is not None else p.indices,
            z,
            v,
            self.x if c is None else c,
            h,
            self.tokens,
            self.d,
            count,
            z.shape[1],
            block_size,
            per_block,
            token_tiles,
            neuron_tiles,
            self.x.stride(0),
            p.w_gate.stride(0),
            p.w_up.stride(0),
            distance(p.w_gate, p.w_up) if tile.paired else 0,
            z.stride(0),
            v.stride(0),
            RAGGED=ragged,
            GROUP=group,
            ACTIVATION=CODES[p.activation],
            HAS_Z=has_z,
            HAS_C=has_c,
            PAIRED=tile.paired,
            EVEN_D=self.d % tile.k == 0,
            BLOCK_M=tile.m,
            BLOCK_N=tile.n,
            BLOCK_K=tile.k,
            BLOCK_R=tiles.RANK_TILE,
            **options(tile),
        )

    def down(self, y: Tensor) -> None:
        """Write y from h_hot and h."""
        p, tile = self.p, self.down_tile
        per_block = cdiv(p.block_size, tile.m)
        token_tiles, column_tiles = p.blocks * per_block, cdiv(self.d, tile.n)
        # a pointer also if there is nothing extra, as in gate_up
        extra, w_extra = (y if t is None else t for t in (unit_columns(p.extra), p.w_extra))
        kernels.down[(token_tiles * column_tiles,)](
            self.h_hot,
            self.h,
            p.w_down_t,
            p.indices,
            p.offsets if p.offsets is not None else p.indices,
            extra,
            w_extra,
            y,
            self.tokens,
            self.d,
            p.hot,
            self.most,
            extra.shape[1],
            p.block_size,
            per_block,
            token_tiles,
            column_tiles,
            p.w_down_t.stride(0),
            extra.stride(0),
            w_extra.stride(0),
            y.stride(0),
            RAGGED=self.ragged,
            GROUP=self.group,
            HAS_HOT=p.hot > 0,
            HAS_DYNAMIC=self.most > 0,
            HAS_EXTRA=p.has_extra,
            EVEN_D=self.d % tile.n == 0,
            HOT_PAD=self.hot_tile.n,
            PAD=self.up_tile.n,
            BLOCK_M=tile.m,
            BLOCK_N=tile.n,
            BLOCK_K=tile.k,
            **options(tile),
        )


@torch.no_grad()
def sparse(p: Problem) -> Tensor:
    """Return y [T, d] in the dtype and on the device of x."""
    y = torch.empty(p.x.shape, dtype=p.x.dtype, device=p.x.device)
    if not len(y) or not (p.hot or p.indices.numel() or p.has_extra):
        return y.zero_()
    if knobs.runtime.interpret:
        arch = min(tiles.SHARED_BYTES)
    else:
        arch = tiles.architecture(torch.cuda.get_device_capability(p.x.device))
    launch = Launch(p, arch)
    with on_device_of(p.x):
        if p.hot:
            launch.gate_up(launch.h_hot, launch.hot_tile, launch.tokens, p.hot, CONTIGUOUS)
        if launch.most:
            launch.gate_up(launch.h, launch.up_tile, p.block_size, launch.most, launch.group)
        launch.down(y)
    return y
