"""Compile the kernels that choose neurons ahead of time, for cards that this machine does not have.

python -m ffkernels.triton.aot_select [--arch 90] prints one JSON line per kernel, as
`ffkernels.triton.aot` does for the FFN's kernels.
"""

import argparse
import json
from dataclasses import asdict
from typing import Any

from ffkernels.triton import aot, select, select_kernels, tiles

# rows of scores: Llama-3.2-1B, Llama-3.1-8B, Llama-3.1-70B
WIDTHS = (8192, 14336, 28672)
UNALIGNED = ("tokens", "block_size", "width", "count", "first", "limit")
LARGEST = {
    "scores": "*fp16",
    "prior": "*fp32",
    "kept": "*i32",
    "offsets": "*i32",
    "width": "i32",
    "count": "i32",
    "first": "i32",
    "limit": "fp32",
    "stride_scores": "i32",
}
MEANS = {
    "x": "*bf16",
    "centre": "*fp32",
    "means": "*fp16",
    "tokens": "i32",
    "d": "i32",
    "block_size": "i32",
    "stride_x": "i32",
}


def keep_largest(
    arch: int, width: int, group: int = 1, prior: bool = True, ragged: bool = False
) -> aot.Compiled:
    """The choice from rows of `width` scores in groups; ragged: each row keeps its own number."""
    block, chunk, warps = select.sizes(width // group)
    constants = {
        "GROUP": group,
        "HAS_PRIOR": prior,
        "RAGGED": ragged,
        "BLOCK": block,
        "CHUNK": chunk,
    }
    return _compiled(select_kernels.keep_largest, arch, LARGEST, constants, warps)


def block_means(arch: int) -> aot.Compiled:
    """The means of blocks."""
    constants = {"BLOCK_M": select.TOKENS, "BLOCK_D": select.COLUMNS}
    return _compiled(select_kernels.block_means, arch, MEANS, constants, select.MEANS_WARPS)


def _compiled(
    kernel: Any, arch: int, types: dict[str, str], constants: dict[str, Any], warps: int
) -> aot.Compiled:
    """Compile a kernel with 16-byte aligned pointers and strides."""
    signature = types | dict.fromkeys(constants, "constexpr")
    aligned = [name for name in types if name not in UNALIGNED]
    return aot.compiled(kernel, arch, signature, constants, aligned, {"num_warps": warps})


def main(argv: list[str] | None = None) -> None:
    """Print one JSON line per kernel."""
    parser = argparse.ArgumentParser(
        prog="ffkernels.triton.aot_select",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    archs = list(tiles.SHARED_BYTES)
    parser.add_argument("--arch", type=int, nargs="+", choices=archs, default=archs)
    for arch in parser.parse_args(argv).arch:
        line = {"kernel": "block_means", "arch": arch} | asdict(block_means(arch))
        print(json.dumps(line), flush=True)
        for width in WIDTHS:
            for group in (1, 16):
                line = {"kernel": "keep_largest", "arch": arch, "width": width, "group": group}
                print(json.dumps(line | asdict(keep_largest(arch, width, group))), flush=True)


if __name__ == "__main__":
    main()
