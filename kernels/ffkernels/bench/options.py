"""Command line of the benchmark."""

import argparse
from pathlib import Path

import torch

from ffkernels import backends, int8
from ffkernels.bench import cases, shapes

DESCRIPTION = """Time the sparse FFN against dense ones at the shape of a real model.

python -m ffkernels.bench --shape llama3.2-1b --dtype bfloat16 --block-size 128 --sparsity 0.5

All variants run in turn in one process, after a correctness check: torch eager, torch eager with
gate and up merged, torch.compile, the dense call of the same backend, and the sparse call. Ratios
are medians over rounds; above 1 the sparse call is faster. The last line printed is JSON;
docs/kernels.md explains it.
"""


SHORT_DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
INT8 = "int8"  # int8 weights and activations; the dense baselines are float32
INT8_BACKENDS = ("auto", *int8.BACKENDS)


def full_dtype(name: str) -> str:
    """The full name of a dtype that may be abbreviated (f32, bf16, f16)."""
    return SHORT_DTYPES.get(name, name)


def parser() -> argparse.ArgumentParser:
    """The options with their defaults."""
    p = argparse.ArgumentParser(
        prog="ffkernels.bench",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--shape", choices=sorted(shapes.SHAPES), default="llama3.2-1b")
    p.add_argument(
        "--dtype", type=full_dtype, choices=(*sorted(cases.DTYPES), INT8), default="float32"
    )
    p.add_argument("--block-size", type=int, default=128, help="tokens that share their neurons")
    p.add_argument("--tokens", type=int, default=2048)
    p.add_argument("--sparsity", type=float, default=0.5, help="fraction of neurons skipped")
    p.add_argument(
        "--hot-fraction", type=float, default=0.0, help="fraction of the kept neurons that is hot"
    )
    p.add_argument(
        "--group-size", type=int, default=1, help="keep whole groups of this many neighbours"
    )
    p.add_argument(
        "--from-plan",
        type=Path,
        metavar="PLAN",
        help="time the index sets recorded from real prompts in this plan folder; shape, block "
        "size, sparsity, hot fraction and group size are the plan's",
    )
    p.add_argument(
        "--layers", type=int, default=4, help="layers of --from-plan that are timed, evenly spaced"
    )
    p.add_argument("--backend", default="auto", help=f"auto, {', '.join(backends.MODULES)}")
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    p.add_argument("--json", action="store_true", help="print only the JSON line")
    p.add_argument(
        "--output-dir", type=Path, help="also append the JSON line to kernels.jsonl in this folder"
    )
    return p


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; one message names every invalid value, exit code 2."""
    p = parser()
    a = p.parse_args(argv)
    if messages := problems(a):
        p.error("\n  ".join(messages))
    return a


def problems(a: argparse.Namespace) -> list[str]:
    """One message for each option outside its domain."""
    messages = [
        f"--{name.replace('_', '-')}: expected at least 1, received {getattr(a, name)}"
        for name in ("block_size", "tokens", "group_size", "layers", "threads", "rounds")
        if getattr(a, name) < 1
    ]
    messages += [
        f"--{name.replace('_', '-')}: expected 0 to 1, received {getattr(a, name)}"
        for name in ("sparsity", "hot_fraction")
        if not 0 <= getattr(a, name) <= 1
    ]
    if a.backend not in ("auto", *backends.MODULES):
        messages.append(
            f"--backend: expected auto, {', '.join(backends.MODULES)}; received {a.backend}"
        )
    if a.dtype == INT8 and a.device == "cuda":
        messages.append("--device: expected cpu for --dtype int8, received cuda")
    elif a.dtype == INT8 and a.backend in backends.MODULES and a.backend not in INT8_BACKENDS:
        messages.append(
            f"--backend: expected {', '.join(INT8_BACKENDS)} for --dtype int8; received {a.backend}"
        )
    f = shapes.SHAPES[a.shape][1]
    if a.group_size > 0 and f % a.group_size:
        messages.append(f"--group-size: expected a divisor of f = {f}, received {a.group_size}")
    if a.device == "cuda" and not torch.cuda.is_available():
        messages.append("--device: expected cpu, received cuda: torch finds no CUDA card here")
    return messages
