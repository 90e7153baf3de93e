"""Find the fastest tiles on this card and keep them in a file.

python -m ffkernels.triton.autotune --output-dir FOLDER [--shape llama3.1-8b] [--block-size 128 256]

Writes FOLDER/tiles.jsonl, one line per block size; FFKERNELS_TILES=FOLDER/tiles.jsonl makes the
kernels use it. Each pair of tiles that differs from the shipped pair in one kernel is timed with
half of the neurons kept, then the backend "gather_once"; `path` in a line is the faster of the two.
Not run on a card yet.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from triton.runtime.errors import OutOfResources

from ffkernels.bench import cases, shapes, timing
from ffkernels.triton import tiles
from ffkernels.triton.tiles import Tile

FILE = "tiles.jsonl"
ROUNDS = 5
ELEMENT_BYTES = {True: 4, False: 2}  # by whether the dtype is float32
Pair = tuple[Tile, Tile]


def shared_bytes(tile: Tile, rows: int, float32: bool) -> int:
    """Shared memory of a pipelined loop: per stage a tile of tokens and `rows` rows of weights."""
    return tile.stages * tile.k * (tile.m + rows) * ELEMENT_BYTES[float32]


def pairs(arch: int, float32: bool, block_size: int) -> Iterator[Pair]:
    """The shipped pair first, then pairs that change one kernel and fit the card."""
    case = (arch, float32, block_size)
    up, down = tiles.default_gate_up(*case), tiles.default_down(*case)
    most = tiles.SHARED_BYTES[arch]
    yield up, down
    for n, k, stages in ((64, 64, 3), (64, 64, 5), (128, 64, 3), (128, 32, 4), (32, 64, 4)):
        other = replace(up, n=n, k=k, stages=stages)
        fits = shared_bytes(other, 2 * n, float32) <= most and n % down.k == 0
        if fits and other != up:
            yield other, down
    paired = tiles.paired_gate_up(arch)
    if not float32 and up.m == paired.m and paired.n % down.k == 0:
        yield paired, down
    for n, k, stages in ((128, 64, 4), (256, 64, 3), (256, 32, 4), (128, 32, 4), (64, 64, 4)):
        other = replace(down, n=n, k=k, stages=stages)
        fits = shared_bytes(other, n, float32) <= most and up.n % k == 0
        if fits and other != down:
            yield up, other


def fastest(candidates: Iterator[Pair], seconds: Callable[[Pair], float]) -> tuple[Pair, float]:
    """The pair with the least time; candidates that the card cannot run are skipped.

    The shipped pair comes first and must run.
    """
    first = next(candidates)
    best, least = first, seconds(first)
    for pair in candidates:
        try:
            time = seconds(pair)
        except OutOfResources:
            continue
        if time < least:
            best, least = pair, time
    return best, least


def backend_seconds(case: cases.Case, backend: str, rounds: int = ROUNDS) -> float:
    """Median seconds of the sparse call by a backend."""
    times = timing.interleaved({"sparse": lambda: case.sparse(backend)}, rounds, 1, "cuda")
    return timing.spread(times["sparse"])[0]


def timed(case: cases.Case, rounds: int = ROUNDS) -> Callable[[Pair], float]:
    """A function that gives the median seconds of the sparse call with a pair of tiles."""

    def seconds(pair: Pair) -> float:
        with tiles.trying(*pair):
            return backend_seconds(case, tiles.GATHERED, rounds)

    return seconds


def tune(shape: str, dtype: str, block_size: int, tokens: int) -> dict[str, Any]:
    """The line of one block size: the fastest pair of tiles and its time."""
    arch = tiles.architecture(torch.cuda.get_device_capability())
    sets = cases.random_sets(
        shape,
        tokens=tokens,
        block_size=block_size,
        group_size=1,
        sparsity=0.5,
        hot_fraction=0.0,
        seed=0,
    )
    case = cases.Case(sets, cases.DTYPES[dtype], tokens, "cuda")
    float32 = dtype == "float32"
    (up, down), seconds = fastest(pairs(arch, float32, block_size), timed(case))
    once = backend_seconds(case, tiles.ONCE)
    return {
        "arch": arch,
        "float32": float32,
        "block_size": block_size,
        "gate_up": asdict(up),
        "down": asdict(down),
        "seconds": seconds,
        "gather_once_seconds": once,
        "path": tiles.ONCE if once < seconds else tiles.GATHERED,
        "shape": shape,
        "dtype": dtype,
        "tokens": tokens,
        "device": torch.cuda.get_device_name(),
    }


def main(argv: list[str] | None = None) -> int:
    """Write the file anew for each line, so that a run cut short keeps what it has; 2 without a
    card.
    """
    parser = argparse.ArgumentParser(
        prog="ffkernels.triton.autotune",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--shape", choices=sorted(shapes.SHAPES), default="llama3.1-8b")
    parser.add_argument("--dtype", choices=sorted(cases.DTYPES), default="bfloat16")
    parser.add_argument("--block-size", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument("--tokens", type=int, default=4096)
    options = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print("error: no CUDA card here; tiles are measured on the card", file=sys.stderr)
        return 2
    os.environ.pop(tiles.VARIABLE, None)  # the search starts from the shipped tiles
    options.output_dir.mkdir(parents=True, exist_ok=True)
    lines = []
    with torch.no_grad():
        for block_size in options.block_size:
            lines.append(json.dumps(tune(options.shape, options.dtype, block_size, options.tokens)))
            write_whole(options.output_dir / FILE, lines)
            print(lines[-1], flush=True)
    return 0


def write_whole(path: Path, lines: list[str]) -> None:
    """Write the lines; a process that ends meanwhile leaves the file as it was."""
    part = path.with_suffix(".part")
    part.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
