"""Tile sizes of the Triton kernels by card, dtype and block size.

Chosen by what the compiler makes of them (`python -m ffkernels.triton.aot`): matrix instructions,
no spilled register, shared memory within the card. They have not been timed on a card.
"""

from dataclasses import dataclass

# Shared memory that one program may use on each architecture that the tiles are made for (CUDA
# programming guide, table of technical specifications).
SHARED_BYTES = {80: 166_912, 86: 101_376, 90: 232_448, 100: 232_448}
RANK_TILE = 32  # columns of z and v per step; ranks are 64 to 256


@dataclass(frozen=True)
class Tile:
    """One kernel's tile: m tokens, n neurons (gate-up) or columns (down), k deep; warps and
    pipeline stages.
    """

    m: int
    n: int
    k: int
    warps: int
    stages: int


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


def gate_up_tile(arch: int, float32: bool, block_size: int) -> Tile:
    """Tile of the gate-up kernel, which holds two sums of m x n."""
    if float32:
        return Tile(token_tile(block_size, 32), 32, 32, 4, 2)
    m = token_tile(block_size, 128)
    k, warps = _depth(arch, m), 8 if m == 128 else 4
    return Tile(m, 64, k, warps, 4 if arch == 90 else 3)


def down_tile(arch: int, float32: bool, block_size: int) -> Tile:
    """Tile of the down kernel; its k divides the n of the gate-up tile, so that padded columns
    suffice.
    """
    if float32:
        return Tile(token_tile(block_size, 32), 32, 32, 4, 2)
    m = token_tile(block_size, 128)
    return Tile(m, 128 if m > 16 else 64, _depth(arch, m), 8 if m == 128 else 4, 3)
