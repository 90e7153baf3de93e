"""GPU backend: two Triton launches for the kept neurons, one more where there is a hot set.

Gate-up writes h [T, hot tiles + dynamic tiles] in the dtype of x; down sums both parts in float32
and rounds once. Under TRITON_INTERPRET=1 the same kernels run on CPU tensors (float32 and float16),
for tests.
"""

import contextlib
from typing import Any

import torch
from torch import Tensor
from triton import knobs

from ffkernels import triton_kernels as kernels
from ffkernels import triton_tiles as tiles
from ffkernels.problem import Problem
from ffkernels.triton_tiles import Tile

ACTIVATIONS = {"silu": 0, "gelu_tanh": 1, "gelu": 2, "relu": 3}
CARD_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
INTERPRETER_DTYPES = (torch.float16, torch.float32)
CONTIGUOUS, ANY_ROWS = 0, 1
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


def on_device_of(x: Tensor) -> Any:
    """Context in which launches go to the card of x."""
    return torch.cuda.device(x.device) if x.device.type == "cuda" else contextlib.nullcontext()


def round_up(count: int, multiple: int) -> int:
    """The least multiple that is not below count."""
    return -(-count // multiple) * multiple


def unit_columns(t: Tensor | None) -> Tensor | None:
    """T [n, m] with stride 1 along a row, copied where it has not."""
    return t if t is None or t.stride(1) == 1 else t.contiguous()


def row_layout(group: int) -> int:
    """The kernels' GROUP for the op's `group`: the widest group that they know and that divides it,
    else any rows.
    """
    return next((width for width in GROUPS if group % width == 0), ANY_ROWS)


def options(tile: Tile) -> dict[str, Any]:
    """Launch options of a tile."""
    return {"num_warps": tile.warps, "num_stages": tile.stages, "enable_fp_fusion": True}


class Launch:
    """One call: its tiles, its scratch h, and the launches on them."""

    def __init__(self, p: Problem, arch: int) -> None:
        self.p, float32 = p, p.x.dtype == torch.float32
        self.x = p.x if p.x.stride(1) == 1 else p.x.contiguous()
        self.tokens, self.d = self.x.shape
        self.kept, self.group = p.indices.shape[1], row_layout(p.group)
        self.up_tile = tiles.gate_up_tile(arch, float32, p.block_size)
        self.hot_tile = tiles.gate_up_tile(arch, float32, max(self.tokens, 1))
        self.down_tile = tiles.down_tile(arch, float32, p.block_size)
        self.first_dynamic = round_up(p.hot, self.hot_tile.n)
        width = self.first_dynamic + round_up(self.kept, self.up_tile.n)
        self.h = torch.empty(self.tokens, width, dtype=self.x.dtype, device=self.x.device)

    def gate_up(
        self, tile: Tile, block_size: int, count: int, group: int, first_column: int
    ) -> None:
        """Fill `count` columns of h, padded to whole tiles with zeros; the correction is for
        gathered neurons only.
        """
        p, h, dynamic = self.p, self.h, group != CONTIGUOUS
        z, v = (
            (unit_columns(p.z), unit_columns(p.v))
            if dynamic and p.z is not None and p.z.shape[1]
            else (None, None)
        )
        c = p.c.contiguous() if dynamic and p.c is not None else None
        has_z, has_c = z is not None, c is not None
        z, v, c = (
            h if given is None else given for given in (z, v, c)
        )  # h stands for a pointer that is not read
        per_block = -(-block_size // tile.m)
        grid = (-(-self.tokens // block_size) * per_block, -(-count // tile.n))
        kernels.gate_up[grid](
            self.x,
            p.w_gate,
            p.w_up,
            p.indices,
            z,
            v,
            c,
            h,
            self.tokens,
            self.d,
            count,
            z.shape[1],
            block_size,
            per_block,
            first_column,
            self.x.stride(0),
            p.w_gate.stride(0),
            p.w_up.stride(0),
            z.stride(0),
            v.stride(0),
            h.stride(0),
            p.indices.stride(0),
            GROUP=group,
            ACTIVATION=ACTIVATIONS[p.activation],
            HAS_Z=has_z,
            HAS_C=has_c,
            EVEN_D=self.d % tile.k == 0,
            BLOCK_M=tile.m,
            BLOCK_N=tile.n,
            BLOCK_K=tile.k,
            BLOCK_R=tiles.RANK_TILE,
            **options(tile),
        )

    def down(self, y: Tensor) -> None:
        """Write y from all columns of h."""
        p, h, tile = self.p, self.h, self.down_tile
        per_block = -(-p.block_size // tile.m)
        grid = (p.indices.shape[0] * per_block, -(-self.d // tile.n))
        kernels.down[grid](
            h,
            p.w_down_t,
            p.indices,
            y,
            self.tokens,
            self.d,
            p.hot,
            self.kept,
            p.block_size,
            per_block,
            self.first_dynamic,
            h.stride(0),
            p.w_down_t.stride(0),
            p.indices.stride(0),
            y.stride(0),
            GROUP=self.group,
            HAS_HOT=p.hot > 0,
            HAS_DYNAMIC=self.kept > 0,
            EVEN_D=self.d % tile.n == 0,
            BLOCK_M=tile.m,
            BLOCK_N=tile.n,
            BLOCK_K=tile.k,
            **options(tile),
        )


@torch.no_grad()
def sparse(p: Problem) -> Tensor:
    """Return y [T, d] in the dtype and on the device of x."""
    y = torch.empty(p.x.shape, dtype=p.x.dtype, device=p.x.device)
    if not len(y) or not (p.hot or p.indices.shape[1]):
        return y.zero_()
    arch = (
        80
        if knobs.runtime.interpret
        else tiles.architecture(torch.cuda.get_device_capability(p.x.device))
    )
    launch = Launch(p, arch)
    with on_device_of(p.x):
        if p.hot:
            launch.gate_up(launch.hot_tile, launch.tokens, p.hot, CONTIGUOUS, 0)
        if launch.kept:
            launch.gate_up(
                launch.up_tile, p.block_size, launch.kept, launch.group, launch.first_dynamic
            )
        launch.down(y)
    return y
