"""Tile sizes of the Triton kernels by card, dtype and block size.

Chosen by what the compiler makes of them (`python -m ffkernels.triton.aot`): matrix instructions,
no spilled register, shared memory within the card. They have not been timed on a card.
"""

import contextlib
import functools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# Shared memory that one program may use on each architecture that the tiles are made for (CUDA
# programming guide, table of technical specifications).
SHARED_BYTES = {80: 166_912, 86: 101_376, 90: 232_448, 100: 232_448}
VARIABLE = "FFKERNELS_TILES"
GATHERED, ONCE = "triton", "gather_once"  # backends that compute a call
# Tokens of a block from which "gather_once" is taken, by whether the dtype is float32. By
# arithmetic, not measured: copying a block's rows moves b bytes an element twice at W bytes/s, the
# products take 2 B FLOP an element at F FLOP/s, or at a share e of it in the gathering kernel. So
# B = b F / (W (1/e - 1)): 990 in half types on an H100 (F 798e12, W 3.0e12, e 0.65), less on cards
# with less arithmetic per byte; in float32, whose kernel has no matrix instructions, about 80
# (F 60e12, e 0.5).
ONCE_FROM = {False: 1024, True: 128}
RANK_TILE = 32  # columns of z and v per step; ranks are 64 to 256


@dataclass(frozen=True)
class Tile:
    """One kernel's tile: m tokens, n neurons (gate-up) or columns (down), k deep; warps and
    pipeline stages. paired: gate-up multiplies both rows of a neuron in one product of 2 n rows.
    """

    m: int
    n: int
    k: int
    warps: int
    stages: int
    paired: bool = False


def architecture(capability: tuple[int, int]) -> int:
    """The newest known architecture that a card of this compute capability can run: 8.9 gives 86.

    Raises ValueError below 8.0: such cards lack the asynchronous copies that the kernels rely on.
    """
    number = 10 * capability[0] + capability[1]
    if capability[0] == 12:
        return 86  # consumer Blackwell: mma.sync and 99 KB of shared memory, as 8.6
    fitting = [known for known in SHARED_BYTES if known <= number]
    if not fitting:
        raise ValueError(
            "expected a card of compute capability 8.0 or newer, received "
            f"{capability[0]}.{capability[1]}"
        )
    return max(fitting)


def token_tile(block_size: int, most: int) -> int:
    """Tokens of a tile: the power of two that holds a block, from 16 (the least of a matrix
    instruction) to `most`.
    """
    return max(16, min(most, 1 << (block_size - 1).bit_length()))


def _depth(arch: int, m: int) -> int:
    return 32 if arch == 86 or m < 64 else 64


def default_gate_up(arch: int, float32: bool, block_size: int) -> Tile:
    """The shipped tile of the gate-up kernel, which holds two sums of m x n."""
    if float32:
        return Tile(token_tile(block_size, 32), 32, 32, 4, 2)
    m = token_tile(block_size, 128)
    k, warps = _depth(arch, m), 8 if m == 128 else 4
    return Tile(m, 64, k, warps, 4 if arch == 90 else 3)


def paired_gate_up(arch: int) -> Tile:
    """A gate-up tile for half types in blocks of 128 tokens or more that multiplies both rows of a
    neuron in one product. `autotune` tries it; it is not shipped as the default before a card has
    shown that it is faster.
    """
    if arch == 90:
        return Tile(128, 128, 64, 8, 4, paired=True)
    # 128 neurons would spill with groups on sm_100
    return (
        Tile(128, 64, 64, 8, 4, paired=True) if arch > 90 else Tile(128, 64, 32, 8, 3, paired=True)
    )


def default_down(arch: int, float32: bool, block_size: int) -> Tile:
    """The shipped tile of the down kernel."""
    if float32:
        return Tile(token_tile(block_size, 32), 32, 32, 4, 2)
    m = token_tile(block_size, 128)
    return Tile(m, 128 if m > 16 else 64, _depth(arch, m), 8 if m == 128 else 4, 3)


class Measured(NamedTuple):
    """What `autotune` found for a case: both tiles, and the faster backend."""

    gate_up: Tile
    down: Tile
    path: str


@functools.cache
def measured(path: str) -> dict[tuple[int, bool, int], Measured]:
    """What a file of `autotune` says by architecture, float32 and block size.

    ValueError if the file cannot be read or a pair of tiles does not fit together.
    """
    try:
        lines = [json.loads(text) for text in Path(path).read_text(encoding="utf-8").splitlines()]
        found = {
            (int(line["arch"]), bool(line["float32"]), int(line["block_size"])): Measured(
                Tile(**line["gate_up"]), Tile(**line["down"]), str(line.get("path", GATHERED))
            )
            for line in lines
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{VARIABLE}: {path} is not a file of tiles ({type(error).__name__}: {error}); "
            "write one with python -m ffkernels.triton.autotune"
        ) from error
    for case in found.values():
        check_pair(case.gate_up, case.down)
        if case.path not in (GATHERED, ONCE):
            raise ValueError(
                f"{VARIABLE}: expected path {GATHERED} or {ONCE}, received {case.path!r}"
            )
    return found


def check_pair(up: Tile, down: Tile) -> None:
    """ValueError unless the columns that gate-up pads suffice for the steps of down."""
    if up.n % down.k:
        raise ValueError(
            f"{VARIABLE}: expected n of the gate-up tile to be a multiple of k of the down tile, "
            f"received {up.n} and {down.k}"
        )


_tried: list[tuple[Tile, Tile]] = []


@contextlib.contextmanager
def trying(up: Tile, down: Tile) -> Iterator[None]:
    """Use these two tiles for every call, whatever its architecture, dtype and block size."""
    check_pair(up, down)
    _tried.append((up, down))
    try:
        yield
    finally:
        _tried.pop()


def _measured(case: tuple[int, bool, int]) -> Measured | None:
    """What the file named in FFKERNELS_TILES says of a case."""
    path = os.environ.get(VARIABLE)
    return measured(path).get(case) if path else None


def path(arch: int, float32: bool, block_size: int) -> str:
    """The faster backend for blocks that keep the same number of neurons: as measured, else by
    ONCE_FROM.
    """
    found = _measured((arch, float32, block_size))
    if found is not None:
        return found.path
    return ONCE if block_size >= ONCE_FROM[float32] else GATHERED


def _pair(arch: int, float32: bool, block_size: int) -> tuple[Tile, Tile]:
    """The measured tiles that FFKERNELS_TILES has for this case, else the shipped ones."""
    if _tried:
        return _tried[-1]
    case = (arch, float32, block_size)
    found = _measured(case)
    return found[:2] if found else (default_gate_up(*case), default_down(*case))


def gate_up_tile(arch: int, float32: bool, block_size: int) -> Tile:
    """Tile of the gate-up kernel."""
    return _pair(arch, float32, block_size)[0]


def down_tile(arch: int, float32: bool, block_size: int) -> Tile:
    """Tile of the down kernel; its k divides the n of the gate-up tile of the same case."""
    return _pair(arch, float32, block_size)[1]
