"""Compile the Triton kernels ahead of time for cards that are not there, and say what came out.

python -m ffkernels.triton_ahead [--arch 90] [--dtype bf16] prints one line a kernel: registers,
bytes of stack, spill instructions, shared memory, matrix instructions. Needs neither a card nor a
driver.
"""

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ffkernels import triton_kernels as kernels
from ffkernels import triton_tiles as tiles
from ffkernels.triton_tiles import Tile

TYPES = {"f16": "fp16", "bf16": "bf16", "f32": "fp32"}
MATRIX = {"mma.sync": r"\bmma\.sync", "wgmma": r"\bwgmma\.mma_async", "tcgen05": r"\btcgen05\.mma"}
POINTERS = ("x", "w_gate", "w_up", "w_down", "z", "v", "c", "h", "y")
UNALIGNED = ("tiles_per_block", "block_size", "tokens")
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


@dataclass(frozen=True)
class Variant:
    """One specialisation: kernel gate_up or down; group 0 contiguous, 1 any rows, else neurons of a
    group.
    """

    kernel: str
    arch: int
    dtype: str
    group: int
    block_size: int
    activation: int = 0
    correction: bool = True

    @property
    def tile(self) -> Tile:
        """The tile that the backend would pick."""
        pick = tiles.gate_up_tile if self.kernel == "gate_up" else tiles.down_tile
        return pick(self.arch, self.dtype == "f32", self.block_size)

    def constants(self) -> dict[str, Any]:
        """Compile-time arguments of the kernel."""
        tile, corrected = self.tile, self.correction and self.group > 0
        shared = {
            "GROUP": self.group,
            "EVEN_D": True,
            "BLOCK_M": tile.m,
            "BLOCK_N": tile.n,
            "BLOCK_K": tile.k,
        }
        if self.kernel == "down":
            return shared | {"HAS_HOT": True, "HAS_DYNAMIC": True}
        return shared | {
            "ACTIVATION": self.activation,
            "HAS_Z": corrected,
            "HAS_C": corrected,
            "BLOCK_R": tiles.RANK_TILE,
        }


@dataclass(frozen=True)
class Compiled:
    """What the compiler made: per-thread registers and stack, spills, shared bytes, matrix
    instructions by name.
    """

    registers: int
    stack_bytes: int
    spills: int
    shared_bytes: int
    matrix: dict[str, int]


def _tool(name: str, *arguments: str) -> str:
    return subprocess.run(
        [str(TOOLS / name), *arguments], capture_output=True, text=True, check=True
    ).stdout


def _inspect(built: Any) -> Compiled:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(built.asm["cubin"])
        file.flush()
        usage, code = (
            _tool("cuobjdump", "--dump-resource-usage", file.name),
            _tool("nvdisasm", file.name),
        )
    numbers = {name: re.search(rf"{name}:(\d+)", usage) for name in ("REG", "STACK")}
    if not all(numbers.values()):
        raise RuntimeError(f"cuobjdump: no REG and STACK in its output: {usage.strip()[:200]!r}")
    registers, stack = (int(found[1]) for found in numbers.values() if found)
    spills = len(re.findall(r"\b(?:STL|LDL)\b", code))
    matrix = {name: len(re.findall(pattern, built.asm["ptx"])) for name, pattern in MATRIX.items()}
    return Compiled(
        registers, stack, spills, built.metadata.shared, {k: n for k, n in matrix.items() if n}
    )


def build(variant: Variant, ones: tuple[str, ...] = ()) -> Compiled:
    """Compile one variant with 16-byte aligned pointers and strides, as whole models have them.

    Arguments named in `ones` are 1, which Triton compiles in as a constant.
    """
    kernel = getattr(kernels, variant.kernel)
    kind, signature = TYPES[variant.dtype], {}
    for name in kernel.arg_names:
        other = (
            "*i64"
            if name == "indices"
            else "constexpr"
            if name.isupper() or name in ones
            else "i32"
        )
        signature[name] = f"*{kind}" if name in POINTERS else other
    names = list(signature)
    values = variant.constants() | dict.fromkeys(ones, 1)
    constants = {(names.index(name),): value for name, value in values.items()}
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(names)
        if signature[name] != "constexpr" and name not in UNALIGNED
    }
    tile = variant.tile
    return _inspect(
        triton.compile(
            ASTSource(kernel, signature, constants, aligned),
            target=GPUTarget("cuda", variant.arch, 32),
            options={"num_warps": tile.warps, "num_stages": tile.stages, "enable_fp_fusion": True},
        )
    )


def variants(archs: list[int], dtypes: list[str], block_sizes: list[int]) -> Iterator[Variant]:
    """Every kernel with its row layouts; the hot set of down is part of each of its variants."""
    for arch in archs:
        for dtype in dtypes:
            for block_size in block_sizes:
                yield from (
                    Variant("gate_up", arch, dtype, group, block_size) for group in (0, 1, 16, 32)
                )
                yield from (
                    Variant("down", arch, dtype, group, block_size) for group in (1, 16, 32)
                )


def main(argv: list[str] | None = None) -> None:
    """Print one JSON line a variant."""
    parser = argparse.ArgumentParser(
        prog="ffkernels.triton_ahead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--arch", type=int, nargs="+", choices=tiles.SHARED_BYTES, default=list(tiles.SHARED_BYTES)
    )
    parser.add_argument("--dtype", nargs="+", choices=TYPES, default=["f16", "bf16"])
    parser.add_argument("--block", type=int, nargs="+", default=[128])
    options = parser.parse_args(argv)
    for variant in variants(options.arch, options.dtype, options.block):
        print(
            json.dumps(asdict(variant) | asdict(variant.tile) | asdict(build(variant))), flush=True
        )


if __name__ == "__main__":
    main()
