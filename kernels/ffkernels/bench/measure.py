"""One measurement: correctness, then times of all variants, as a result line."""

import argparse
import sys
from typing import Any

import torch

from ffkernels import backends
from ffkernels.bench import cases, machine, shapes, timing, variants
from ffkernels.bench.cases import Case
from ffkernels.bench.int8_case import Int8Case
from ffkernels.bench.options import INT8


def build(a: argparse.Namespace) -> Case:
    """Inputs and index sets. CaseError if the plan's record cannot be used."""
    kind, dtype = (Int8Case, torch.float32) if a.dtype == INT8 else (Case, cases.DTYPES[a.dtype])
    if a.from_plan is not None:
        sets, covered = cases.recorded_sets(a.from_plan, a.layers)
        return kind(sets, dtype, min(a.tokens, covered), a.device, a.seed)
    sets = cases.random_sets(
        a.shape,
        tokens=a.tokens,
        block_size=a.block_size,
        group_size=a.group_size,
        sparsity=a.sparsity,
        hot_fraction=a.hot_fraction,
        seed=a.seed,
    )
    return kind(sets, dtype, a.tokens, a.device, a.seed)


def measure(a: argparse.Namespace) -> dict[str, Any]:
    """Run one benchmark; return its result line. CaseError if the plan's record cannot be used.

    Ends the program with exit code 1 if the backend's results are wrong.
    """
    torch.set_num_threads(a.threads)
    torch.set_flush_denormal(True)
    case = build(a)
    error, allowed = case.correctness(a.backend)
    if not error <= allowed:
        sys.exit(
            f"error: wrong results, nothing was timed: expected a relative error of at most "
            f"{allowed:.3g}, received {error:.3g}"
        )
    timed, skipped = variants.calls(a, case)
    extra: dict[str, Any] = {}
    if a.device == "cuda":
        timed, extra = variants.on_card(timed, a.rounds)
    times = timing.interleaved(timed, a.rounds, a.threads, a.device)
    return {
        **speeds(a, case, times),
        **extra,
        **settings(a, case),
        **machine.facts(a.device),
        "relative_error": error,
        "error_allowed": allowed,
        "compiled_skipped": skipped,
        "command": "python -m ffkernels.bench " + " ".join(sys.argv[1:]),
    }


def speeds(a: argparse.Namespace, case: Case, times: dict[str, list[float]]) -> dict[str, Any]:
    """Ratios, rates and seconds of a result line; `times` has seconds per round by variant."""
    # The fastest product that torch has on a CPU is that of bfloat16 if there is AMX. Without, it
    # is the slowest, and measuring it would take minutes.
    peaks = (torch.bfloat16,) if a.dtype == INT8 and torch.cpu._is_amx_tile_supported() else ()
    sets, flops = case.sets, 6 * case.tokens * case.sets.d * case.sets.f * len(case.sets.layers)
    seconds = {name: timing.spread(values)[0] for name, values in times.items()}
    over = {name: timing.ratios(values, times["sparse"]) for name, values in times.items()}
    ratio, p20, p80 = over["eager"]
    return {
        "ratio_eager": ratio,
        "ratio_merged": over["merged"][0],
        "ratio_compiled": over["compiled"][0] if "compiled" in over else None,
        "ratio_self": over["self"][0],
        "ideal": 1 / sets.density if sets.density else None,
        "density": sets.density,
        "gflops": flops * sets.density / seconds["sparse"] / 1e9,
        "dense_gflops": flops / seconds["eager"] / 1e9,
        "self_gflops": flops / seconds["self"] / 1e9,
        "peak_gflops": max(
            timing.peak_gflops(dtype, a.threads, a.device)
            for dtype in {case.dtype, torch.float32, *peaks}
        ),
        "p20": p20,
        "p80": p80,
        "spread": {name: values[1:] for name, values in over.items() if name != "sparse"},
        "seconds": seconds["sparse"],
        "variant_seconds": seconds,
        "rounds": a.rounds,
    }


def settings(a: argparse.Namespace, case: Case) -> dict[str, Any]:
    """What was measured: backend, shape and index sets."""
    sets = case.sets
    even = min(sets.block_size, case.tokens) if sets.layers[0].indices.shape[1] else None
    module = backends.load(a.backend, case.x, even)
    choose = getattr(module, "instruction_set", None)
    return {
        "backend": backends.name_of(module),
        "instruction_set": choose(case.weight_dtype) if choose else None,
        "threads": a.threads,
        "shape": shape_name(a, case),
        "d": sets.d,
        "f": sets.f,
        "dtype": a.dtype,
        "block_size": sets.block_size,
        "tokens": case.tokens,
        "group_size": sets.group_size,
        "sparsity": a.sparsity if a.from_plan is None else 1 - sets.density,
        "hot_fraction": hot_share(case),
        "indices": sets.source if a.from_plan is None else a.from_plan.name,
        "layers": [layer.name for layer in sets.layers],
    }


def shape_name(a: argparse.Namespace, case: Case) -> str:
    """Name of the shape; of a plan its sizes if no shape has them."""
    if a.from_plan is None:
        return str(a.shape)
    sizes = (case.sets.d, case.sets.f)
    named = (name for name, known in shapes.SHAPES.items() if known == sizes)
    return next(named, f"{sizes[0]}x{sizes[1]}")


def hot_share(case: Case) -> float:
    """Share of the kept neurons that is hot."""
    kept = sum(layer.hot + layer.indices.shape[1] for layer in case.sets.layers)
    return sum(layer.hot for layer in case.sets.layers) / kept if kept else 0.0
