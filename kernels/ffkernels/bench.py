"""Time the sparse FFN against dense ones on the shape of a real model.

python -m ffkernels.bench --shape llama3.2-1b --dtype bf16 --block 128 --tokens 2048 --sparsity 0.5
--threads 1

Variants run in turn in one process after a correctness gate: torch eager dense, torch.compile
dense, the same kernel keeping every neuron, and the sparse call. Ratios are medians over rounds;
above 1 the sparse call is faster. The last line printed is JSON; docs/kernels.md says how to read
it.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffkernels import backends, bench_cases, shapes, timing
from ffkernels.bench_cases import Case, CaseError

NAMES = {
    "sparse": "sparse",
    "self": "same kernel, dense",
    "eager": "torch eager, dense",
    "compiled": "torch.compile, dense",
}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; every value outside the domain is named in one message, exit code
    2.
    """
    p = argparse.ArgumentParser(
        prog="ffkernels.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--shape", choices=sorted(shapes.SHAPES), default="llama3.2-1b")
    p.add_argument("--dtype", choices=sorted(bench_cases.DTYPES), default="f32")
    p.add_argument("--block", type=int, default=128, help="tokens that share one set of neurons")
    p.add_argument("--tokens", type=int, default=2048)
    p.add_argument("--sparsity", type=float, default=0.5, help="fraction of neurons left out")
    p.add_argument(
        "--hot-fraction", type=float, default=0.0, help="fraction of the kept neurons that is hot"
    )
    p.add_argument(
        "--group", type=int, default=1, help="draw sets of whole groups of this many neighbours"
    )
    p.add_argument(
        "--from-plan",
        type=Path,
        metavar="PLAN",
        help="time the index sets recorded from real prompts in "
        "this plan folder; shape, block, sparsity, hot fraction and group are the plan's",
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
    p.add_argument("--json", action="store_true", help="print only the last line, JSON")
    p.add_argument(
        "--output-dir", type=Path, help="also append the JSON line to kernels.jsonl in this folder"
    )
    a = p.parse_args(argv)
    found = problems(a)
    if found:
        p.error("\n  ".join(found))
    return a


def problems(a: argparse.Namespace) -> list[str]:
    """Every option outside its domain."""
    found = [
        f"--{name}: expected at least 1, received {getattr(a, name)}"
        for name in ("block", "tokens", "group", "layers", "threads", "rounds")
        if getattr(a, name) < 1
    ]
    found += [
        f"--{name.replace('_', '-')}: expected 0 to 1, received {getattr(a, name)}"
        for name in ("sparsity", "hot_fraction")
        if not 0 <= getattr(a, name) <= 1
    ]
    if a.backend not in ("auto", *backends.MODULES):
        found.append(
            f"--backend: expected auto, {', '.join(backends.MODULES)}; received {a.backend}"
        )
    if a.group > 0 and shapes.SHAPES[a.shape][1] % a.group:
        found.append(
            f"--group: expected a divisor of f = {shapes.SHAPES[a.shape][1]}, received {a.group}"
        )
    if a.device == "cuda" and not torch.cuda.is_available():
        found.append("--device: expected cpu, received cuda: torch sees no CUDA card here")
    return found


def build(a: argparse.Namespace) -> Case:
    """Inputs and index sets. Raises CaseError where the plan's record cannot be used."""
    if a.from_plan is None:
        sets = bench_cases.random_sets(
            a.shape, a.tokens, a.block, a.group, a.sparsity, a.hot_fraction, a.seed
        )
        return Case(sets, bench_cases.DTYPES[a.dtype], a.tokens, a.device, a.seed)
    sets, covered = bench_cases.recorded_sets(a.from_plan, a.layers)
    return Case(sets, bench_cases.DTYPES[a.dtype], min(a.tokens, covered), a.device, a.seed)


class DenseModule(torch.nn.Module):
    """The dense FFN with its weights as parameters, which lets the compiler pack them ahead of
    time.
    """

    def __init__(self, *weights: Tensor) -> None:
        super().__init__()
        self.gate, self.up, self.down = (
            torch.nn.Parameter(w, requires_grad=False) for w in weights
        )

    def forward(self, x: Tensor) -> Tensor:
        """Y [T, d] of x [T, d]."""
        return bench_cases.dense(x, self.gate, self.up, self.down)


def compiled_dense(case: Case) -> tuple[Callable[[], Any] | None, str | None]:
    """torch.compile with max-autotune and frozen weights on every layer's call, or None with the
    reason.
    """
    module = DenseModule(case.gate, case.up, case.down)
    try:
        fn = torch.compile(module, fullgraph=True, options={"max_autotune": True, "freezing": True})
        fn(case.x)
    except (RuntimeError, OSError, ValueError) as error:
        return None, f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return lambda: [fn(case.x) for _ in case.sets.layers], None


def variants(a: argparse.Namespace, case: Case) -> tuple[dict[str, Callable[[], Any]], str | None]:
    """The calls to be timed by name, and why torch.compile is left out if it is."""
    calls: dict[str, Callable[[], Any]] = {
        "eager": case.eager,
        "self": lambda: case.own_dense(a.backend),
        "sparse": lambda: case.sparse(a.backend),
    }
    if a.no_compile:
        return calls, "--no-compile"
    compiled, reason = compiled_dense(case)
    return calls | ({"compiled": compiled} if compiled else {}), reason


def measure(a: argparse.Namespace) -> dict[str, Any]:
    """Run one benchmark and return its result as a JSON-ready mapping. Raises CaseError as `build`
    does.
    """
    torch.set_num_threads(a.threads)
    torch.set_flush_denormal(True)
    case = build(a)
    module = backends.load(a.backend, case.x)
    error, allowed = bench_cases.correctness(case, a.backend)
    if not error <= allowed:
        sys.exit(
            f"correctness gate: expected a relative error of at most {allowed:.3g}, received {error:.3g}"
        )
    calls, skipped = variants(a, case)
    times = timing.interleaved(calls, a.rounds, a.threads, a.device)
    sets, flops = case.sets, 6 * case.tokens * case.sets.d * case.sets.f * len(case.sets.layers)
    seconds = {name: timing.spread(values)[0] for name, values in times.items()}
    over = {name: timing.ratios(values, times["sparse"]) for name, values in times.items()}
    ratio, p20, p80 = over["eager"]
    return {
        "ratio_eager": ratio,
        "ratio_compiled": over["compiled"][0] if "compiled" in over else None,
        "ratio_self": over["self"][0],
        "ideal": 1 / sets.density if sets.density else None,
        "density": sets.density,
        "gflops": flops * sets.density / seconds["sparse"] / 1e9,
        "dense_gflops": flops / seconds["eager"] / 1e9,
        "self_gflops": flops / seconds["self"] / 1e9,
        "peak_gflops": max(
            timing.peak_gflops(dtype, a.threads, a.device) for dtype in {case.dtype, torch.float32}
        ),
        "p20": p20,
        "p80": p80,
        "spread": {name: values[1:] for name, values in over.items() if name != "sparse"},
        "backend": backends.name_of(module),
        "isa": module.isa_for(case.dtype) if hasattr(module, "isa_for") else None,
        "threads": a.threads,
        "cpu": timing.cpu_name(),
        "device": "cpu" if a.device == "cpu" else torch.cuda.get_device_name(),
        "seconds": seconds["sparse"],
        "variant_seconds": seconds,
        "relative_error": error,
        "error_allowed": allowed,
        "compiled_skipped": skipped,
        "rounds": a.rounds,
        "shape": shape_name(a, case),
        "d": sets.d,
        "f": sets.f,
        "dtype": a.dtype,
        "block": sets.block,
        "tokens": case.tokens,
        "group": sets.group,
        "sparsity": a.sparsity if a.from_plan is None else 1 - sets.density,
        "hot_fraction": hot_share(case),
        "indices": sets.source if a.from_plan is None else a.from_plan.name,
        "layers": [one.name for one in sets.layers],
        "torch": torch.__version__,
        "git_sha": timing.git_sha(),
        "command": "python -m ffkernels.bench " + " ".join(sys.argv[1:]),
    }


def shape_name(a: argparse.Namespace, case: Case) -> str:
    """Name of the shape; of a plan's sizes where no shape has them."""
    if a.from_plan is None:
        return str(a.shape)
    sizes = (case.sets.d, case.sets.f)
    return next(
        (name for name, known in shapes.SHAPES.items() if known == sizes), f"{sizes[0]}x{sizes[1]}"
    )


def hot_share(case: Case) -> float:
    """Share of the kept neurons that is hot."""
    kept = sum(one.hot + one.indices.shape[1] for one in case.sets.layers)
    return sum(one.hot for one in case.sets.layers) / kept if kept else 0.0


def rounded(value: Any) -> Any:
    """Numbers with four decimals, small ones as they are."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(one) for one in value]
    return round(value, 4) if isinstance(value, float) and value > 0.1 else value


def describe(r: dict[str, Any]) -> str:
    """The result for a reader."""
    rows = "any rows" if r["group"] == 1 else f"groups of {r['group']}"
    lines = [
        (
            f"{r['shape']} (d {r['d']}, f {r['f']}), {r['dtype']}, {r['tokens']} tokens in blocks of {r['block']}, "
            f"density {r['density']:.3f}, {rows}, {100 * r['hot_fraction']:.0f}% of the kept neurons hot, "
            f"index sets: {r['indices']}"
        ),
        f"backend {r['backend']}, {r['threads']} thread(s), {r['cpu']}, device {r['device']}, torch {r['torch']}",
        f"correct: relative error {r['relative_error']:.2e}, allowed {r['error_allowed']:.2e}",
        "",
        f"{'':22} {'seconds':>9} {'GFLOP/s':>9} {'of peak':>8}   sparse is faster by (p20 to p80)",
    ]
    for name, seconds in r["variant_seconds"].items():
        share = r["density"] if name == "sparse" else 1.0
        rate = 6 * r["tokens"] * r["d"] * r["f"] * len(r["layers"]) * share / seconds / 1e9
        line = f"{NAMES[name]:22} {seconds:9.4f} {rate:9.0f} {100 * rate / r['peak_gflops']:7.0f}%"
        if name in r["spread"]:
            median = r[f"ratio_{name}"]
            line += "   {:.3f} ({:.3f} to {:.3f})".format(median, *r["spread"][name])
        lines.append(line)
    if r["compiled_skipped"]:
        lines.append(f"torch.compile left out: {r['compiled_skipped']}")
    ideal = f"{r['ideal']:.3f}" if r["ideal"] else "-"
    lines.append(
        f"ideal {ideal} (1 / density); measured peak {r['peak_gflops']:.0f} GFLOP/s "
        "(best square torch GEMM in this dtype or float32)"
    )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Print the figures as text unless --json, and the JSON as the last line; 2 where the plan
    cannot be used.
    """
    a = parse(argv)
    try:
        with torch.no_grad():
            result = measure(a)
    except CaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not a.json:
        print(describe(result) + "\n")
    line = json.dumps(rounded(result))
    if a.output_dir:
        a.output_dir.mkdir(parents=True, exist_ok=True)
        with (a.output_dir / "kernels.jsonl").open("a") as file:
            file.write(line + "\n")
    print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
