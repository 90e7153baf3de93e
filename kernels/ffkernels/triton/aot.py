"""Compile the Triton kernels ahead of time, for cards that this machine does not have.

python -m ffkernels.triton.aot [--arch 90] [--dtype bfloat16] prints one JSON line per kernel:
registers, bytes of stack, spill instructions, shared memory, matrix instructions, and how the loads
are pipelined. Needs neither a card nor a driver.
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

from ffkernels.activations import CODES
from ffkernels.triton import kernels, tiles
from ffkernels.triton.tiles import Tile

TYPES = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}
MATRIX = {"mma.sync": r"\bmma\.sync", "wgmma": r"\bwgmma\.mma_async", "tcgen05": r"\btcgen05\.mma"}
POINTERS = ("x", "w_gate", "w_up", "w_down", "z", "v", "c", "h_hot", "h", "extra", "w_extra", "y")
INDEX_POINTERS = ("indices", "offsets")
# Arguments that need not be multiples of 16.
UNALIGNED = (
    "tiles_per_block",
    "block_size",
    "tokens",
    "token_tiles",
    "neuron_tiles",
    "column_tiles",
)
CARDS = [80, 86, 89, 90, 100]
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


@dataclass(frozen=True)
class Variant:
    """One specialisation of the kernel gate_up or down.

    `group_size` 0: contiguous rows, 1: any rows, else neurons per group. `ragged`: each block has
    its own K. paired: gate and up in one product. extra: down takes a compensator's features.
    """

    kernel: str
    arch: int
    dtype: str
    group_size: int
    block_size: int
    ragged: bool = False
    activation: str = "silu"
    correction: bool = True
    paired: bool = False
    extra: bool = True

    @property
    def known(self) -> int:
        """The architecture whose tiles the card uses."""
        return tiles.architecture(divmod(self.arch, 10))

    @property
    def tile(self) -> Tile:
        """The tile that the backend would pick, or `tiles.paired_gate_up`."""
        if self.paired:
            return tiles.paired_gate_up(self.known)
        pick = tiles.gate_up_tile if self.kernel == "gate_up" else tiles.down_tile
        return pick(self.known, self.dtype == "float32", self.block_size)

    def constants(self) -> dict[str, Any]:
        """Compile-time arguments of the kernel."""
        tile, corrected = self.tile, self.correction and self.group_size > 0
        shared = {
            "RAGGED": self.ragged,
            "GROUP": self.group_size,
            "EVEN_D": True,
            "BLOCK_M": tile.m,
            "BLOCK_N": tile.n,
            "BLOCK_K": tile.k,
        }
        if self.kernel == "down":
            float32 = self.dtype == "float32"
            return shared | {
                "HAS_HOT": True,
                "HAS_DYNAMIC": True,
                "HAS_EXTRA": self.extra,
                "HOT_PAD": tiles.gate_up_tile(self.known, float32, 4096).n,
                "PAD": tiles.gate_up_tile(self.known, float32, self.block_size).n,
            }
        return shared | {
            "ACTIVATION": CODES[self.activation],
            "HAS_Z": corrected,
            "HAS_C": corrected,
            "PAIRED": tile.paired,
            "BLOCK_R": tiles.RANK_TILE,
        }


@dataclass(frozen=True)
class Compiled:
    """What the compiler made of a kernel.

    Registers and stack bytes per thread, spill instructions, bytes of shared memory, matrix
    instructions by name, and for each wait inside a loop the number of asynchronous loads that may
    stay in flight; 0 would drain the pipeline at every step.
    """

    registers: int
    stack_bytes: int
    spills: int
    shared_bytes: int
    matrix: dict[str, int]
    in_flight: list[int]


def _tool(name: str, *arguments: str) -> str:
    return subprocess.run(
        [str(TOOLS / name), *arguments], capture_output=True, text=True, check=True
    ).stdout


def loop_waits(ttgir: str) -> list[int]:
    """Loads in flight allowed by each `async_wait` inside a loop of the program's GPU dialect."""
    waits: list[int] = []
    loops: list[int] = []  # indentation of each loop that is open
    for line in ttgir.splitlines():
        indentation = len(line) - len(line.lstrip())
        if loops and indentation <= loops[-1]:
            loops.pop()
        wait = re.search(r"ttg\.async_wait.*num = (\d+)", line)
        if wait and loops:
            waits.append(int(wait[1]))
        if "scf.for" in line:
            loops.append(indentation)
    return waits


def _inspect(built: Any) -> Compiled:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(built.asm["cubin"])
        file.flush()
        usage = _tool("cuobjdump", "--dump-resource-usage", file.name)
        code = _tool("nvdisasm", file.name)
    registers, stack = re.search(r"REG:(\d+)", usage), re.search(r"STACK:(\d+)", usage)
    if registers is None or stack is None:
        raise RuntimeError(f"cuobjdump: no REG and STACK in its output: {usage.strip()[:200]!r}")
    matrix = {name: len(re.findall(pattern, built.asm["ptx"])) for name, pattern in MATRIX.items()}
    return Compiled(
        registers=int(registers[1]),
        stack_bytes=int(stack[1]),
        spills=len(re.findall(r"\b(?:STL|LDL)\b", code)),
        shared_bytes=built.metadata.shared,
        matrix={name: count for name, count in matrix.items() if count},
        in_flight=loop_waits(built.asm["ttgir"]),
    )


def _signature(variant: Variant, arguments: list[str], ones: tuple[str, ...]) -> dict[str, str]:
    """Triton type of each argument."""
    types = {}
    for name in arguments:
        if name in POINTERS:
            types[name] = f"*{TYPES[variant.dtype]}"
        elif name in INDEX_POINTERS:
            types[name] = "*i32"
        elif name == "up_offset":
            types[name] = "i64"
        else:
            types[name] = "constexpr" if name.isupper() or name in ones else "i32"
    return types


def build(variant: Variant, ones: tuple[str, ...] = ()) -> Compiled:
    """Compile one variant with 16-byte aligned pointers and strides, as whole models have them.

    Arguments named in `ones` are 1, which Triton compiles in as a constant.
    """
    kernel = getattr(kernels, variant.kernel)
    signature = _signature(variant, kernel.arg_names, ones)
    values = variant.constants() | dict.fromkeys(ones, 1)
    aligned = [n for n in signature if signature[n] != "constexpr" and n not in UNALIGNED]
    tile = variant.tile
    options = {"num_warps": tile.warps, "num_stages": tile.stages, "enable_fp_fusion": True}
    return compiled(kernel, variant.arch, signature, values, aligned, options)


def compiled(
    kernel: Any,
    arch: int,
    signature: dict[str, str],
    constants: dict[str, Any],
    aligned: list[str],
    options: dict[str, Any],
) -> Compiled:
    """Compile a kernel for a card: the Triton type of each argument in the kernel's order, the
    values of those that are constants, and the names of those that are multiples of 16.
    """
    names = list(signature)
    source = ASTSource(
        kernel,
        signature,
        {(names.index(name),): value for name, value in constants.items()},
        {(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    return _inspect(triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options))


def variants(archs: list[int], dtypes: list[str], block_sizes: list[int]) -> Iterator[Variant]:
    """Every kernel with its row layouts; the hot set of down is part of each of its variants."""
    for arch in archs:
        for dtype in dtypes:
            for block_size in block_sizes:
                for group in (0, 1, 16, 32):
                    yield Variant("gate_up", arch, dtype, group, block_size)
                yield Variant("gate_up", arch, dtype, 1, block_size, ragged=True)
                if block_size >= 128 and dtype != "float32":
                    for group in (0, 1, 16):
                        yield Variant("gate_up", arch, dtype, group, block_size, paired=True)
                    yield Variant("gate_up", arch, dtype, 1, block_size, True, paired=True)
                for group in (1, 16, 32):
                    yield Variant("down", arch, dtype, group, block_size)
                yield Variant("down", arch, dtype, 1, block_size, ragged=True)


def main(argv: list[str] | None = None) -> None:
    """Print one JSON line per variant."""
    parser = argparse.ArgumentParser(
        prog="ffkernels.triton.aot",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--arch", type=int, nargs="+", choices=CARDS, default=CARDS)
    parser.add_argument("--dtype", nargs="+", choices=TYPES, default=["float16", "bfloat16"])
    parser.add_argument("--block-size", type=int, nargs="+", default=[128])
    options = parser.parse_args(argv)
    for variant in variants(options.arch, options.dtype, options.block_size):
        line = asdict(variant) | asdict(variant.tile) | asdict(build(variant))
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
