"""Time the sparse FFN against dense ones on the shape of a real model.

python -m ffkernels.bench --shape llama3.2-1b --dtype f32 --block 128 --tokens 2048 --sparsity 0.5 --threads 1

Variants run in turn in one process after a correctness gate: torch eager dense, torch.compile dense, the same
kernel keeping every neuron, and the sparse call. Ratios are medians over rounds; above 1 the sparse call is faster.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import ffkernels
from ffkernels import backends, shapes, timing

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
Setup = dict[str, Any]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; a value outside the domain ends the program with a message."""
    p = argparse.ArgumentParser(prog="ffkernels.bench", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shape", choices=sorted(shapes.SHAPES), default="llama3.2-1b")
    p.add_argument("--dtype", choices=sorted(DTYPES), default="f32")
    p.add_argument("--block", type=int, default=128, help="tokens that share one set of neurons")
    p.add_argument("--tokens", type=int, default=2048)
    p.add_argument("--sparsity", type=float, default=0.5, help="fraction of neurons left out")
    p.add_argument("--hot-fraction", type=float, default=0.0, help="fraction of the kept neurons that is hot")
    p.add_argument("--group", type=int, default=1, help="draw sets of whole groups of this many neighbours")
    p.add_argument("--backend", default="auto")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    p.add_argument("--json", action="store_true", help="print only the last line, JSON")
    a = p.parse_args(argv)
    for name in ("block", "tokens", "group", "threads", "rounds"):
        if getattr(a, name) < 1:
            p.error(f"--{name}: expected at least 1, received {getattr(a, name)}")
    for name in ("sparsity", "hot_fraction"):
        if not 0 <= getattr(a, name) <= 1:
            p.error(f"--{name.replace('_', '-')}: expected 0 to 1, received {getattr(a, name)}")
    return a


def build(a: argparse.Namespace) -> Setup:
    """Return the tensors of one benchmark: inputs, index sets and the untransposed down matrix."""
    gen = torch.Generator().manual_seed(a.seed)
    d, f = shapes.SHAPES[a.shape]
    dtype = DTYPES[a.dtype]
    gate, up, down_t = shapes.weights(d, f, dtype, gen)
    kept = round(f * (1 - a.sparsity))
    hot = round(kept * a.hot_fraction)
    blocks = -(-a.tokens // a.block)
    indices = shapes.index_sets(blocks, f, hot, kept - hot, a.group, gen)
    x = torch.randn(a.tokens, d, generator=gen).to(dtype)
    return {"x": x, "gate": gate, "up": up, "down_t": down_t, "down": down_t.T.contiguous(), "hot": hot,
            "indices": indices, "all": torch.arange(f).repeat(blocks, 1), "density": (hot + indices.shape[1]) / f}


def eager(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """The FFN as a model writes it; down is [d, f]."""
    linear = torch.nn.functional.linear
    return linear(torch.nn.functional.silu(linear(x, gate)) * linear(x, up), down)


def gate_correctness(a: argparse.Namespace, s: Setup) -> float:
    """Compare the first two blocks with float64 and return the relative error; end the program if it is wrong.

    Allowed is four times the error of the torch backend on the same input plus one rounding of the result.
    """
    n = min(2, len(s["indices"]))
    x = s["x"][: n * a.block]
    args = (x, s["gate"], s["up"], s["down_t"], s["indices"][:n], a.block)
    exact = ffkernels.sparse_gated_ffn(*(t.double() if torch.is_tensor(t) and t.is_floating_point() else t
                                         for t in args), hot=s["hot"], backend="reference")
    top = exact.abs().max().item()

    def error(backend: str) -> float:
        got = ffkernels.sparse_gated_ffn(*args, hot=s["hot"], backend=backend)
        return (got.double() - exact).abs().max().item()

    limit = 4 * error("torch") + torch.finfo(x.dtype).eps * top
    found = error(a.backend)
    if not found <= limit:
        sys.exit(f"correctness gate: expected an error of at most {limit:.3g}, received {found:.3g}")
    return found / top if top else 0.0


def compiled_dense(s: Setup) -> tuple[Callable[[], Tensor] | None, str | None]:
    """Return torch.compile(max-autotune) of the dense FFN, or None with the reason."""
    weights = (s["gate"], s["up"], s["down"])
    try:
        fn = torch.compile(eager, mode="max-autotune", fullgraph=True)
        fn(s["x"], *weights)
    except (RuntimeError, OSError, ValueError) as error:
        return None, f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return lambda: fn(s["x"], *weights), None


def variants(a: argparse.Namespace, s: Setup) -> tuple[dict[str, Callable[[], Tensor]], str | None]:
    """Return the calls to be timed by name, and why torch.compile is left out if it is."""
    rows = (s["x"], s["gate"], s["up"], s["down_t"])
    calls: dict[str, Callable[[], Tensor]] = {
        "eager": lambda: eager(s["x"], s["gate"], s["up"], s["down"]),
        "self": lambda: ffkernels.sparse_gated_ffn(*rows, s["all"], a.block, backend=a.backend),
        "sparse": lambda: ffkernels.sparse_gated_ffn(*rows, s["indices"], a.block, hot=s["hot"], backend=a.backend),
    }
    if a.no_compile:
        return calls, "--no-compile"
    compiled, reason = compiled_dense(s)
    if compiled:
        calls["compiled"] = compiled
    return calls, reason


def measure(a: argparse.Namespace) -> dict[str, Any]:
    """Run one benchmark and return its result as a JSON-ready mapping."""
    torch.set_num_threads(a.threads)
    torch.set_flush_denormal(True)
    s = build(a)
    chosen = backends.load(a.backend, s["x"])
    error = gate_correctness(a, s)
    calls, skipped = variants(a, s)
    times = timing.interleaved(calls, a.rounds, a.threads)
    ratio, p20, p80 = timing.ratios(times["eager"], times["sparse"])
    seconds = statistics.median(times["sparse"])
    d, f = shapes.SHAPES[a.shape]
    result = {
        "ratio_eager": ratio,
        "ratio_compiled": None if skipped else timing.ratios(times["compiled"], times["sparse"])[0],
        "ratio_self": timing.ratios(times["self"], times["sparse"])[0],
        "ideal": 1 / s["density"] if s["density"] else None, "density": s["density"],
        "gflops": 6 * a.tokens * d * f * s["density"] / seconds / 1e9,
        "peak_gflops": timing.peak_gflops(s["x"].dtype, a.threads), "p20": p20, "p80": p80,
        "backend": backends.name_of(chosen), "threads": a.threads, "cpu": timing.cpu_name(),
        "seconds": seconds, "relative_error": error, "compiled_skipped": skipped, "rounds": a.rounds,
        "shape": a.shape, "dtype": a.dtype, "block": a.block, "tokens": a.tokens, "group": a.group,
        "sparsity": a.sparsity, "hot_fraction": a.hot_fraction, "torch": torch.__version__,
    }
    return {k: round(v, 4) if isinstance(v, float) and v > 1e-3 else v for k, v in result.items()}


def main(argv: list[str] | None = None) -> None:
    """Print the figures as text unless --json, and the JSON as the last line."""
    a = parse(argv)
    start = time.perf_counter()
    with torch.no_grad():
        result = measure(a)
    if not a.json:
        for key, value in result.items():
            print(f"{key:18} {value}")
        print(f"{'wall seconds':18} {time.perf_counter() - start:.1f}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
