"""`python -m ffbench speed`: speedups at the true shape of a published model, with random weights."""

import argparse
import json
from typing import Any

from ffbench.cli.main import refuse


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line's options."""
    from ffbench.models.shapes import SHAPES
    from ffbench.sparsity.selectors import SELECTORS

    parser = argparse.ArgumentParser(prog="python -m ffbench speed", description=__doc__)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="smollm2-135m")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--selector", choices=sorted(name for name, one in SELECTORS.items() if one.block_wise),
                        default="trained")
    parser.add_argument("--compensator", choices=["none", "bias", "surrogate"], default="surrogate")
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--hot-fraction", type=float, default=0.0)
    parser.add_argument("--lengths", type=int, nargs="+", default=[2048], help="prompt lengths in tokens")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    return parser.parse_args(arguments)


def invalid(options: argparse.Namespace) -> list[str]:
    """Every option outside its domain."""
    found = [f"--{name}: expected 1 or more, received {getattr(options, name)}"
             for name in ("rank", "block", "rounds", "threads") if getattr(options, name) < 1]
    found += [f"--lengths: expected 1 or more, received {length}" for length in options.lengths if length < 1]
    if not 0 <= options.sparsity < 1:
        found.append(f"--sparsity: expected 0 <= sparsity < 1, received {options.sparsity}")
    if not 0 <= options.hot_fraction <= 1:
        found.append(f"--hot-fraction: expected 0 to 1, received {options.hot_fraction}")
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """FFN and TTFT figures at every length."""
    from ffbench.models.shapes import build_shape, random_plan
    from ffbench.runs.provenance import cpu_name, git_state
    from ffbench.sparsity.plan import PlanSettings
    from ffbench.stages.speed import break_even, prefill_times

    model = build_shape(options.shape, options.dtype)
    settings = PlanSettings(options.selector, options.compensator, "uniform", options.block, options.sparsity,
                            options.hot_fraction, options.rank)
    times = prefill_times(model, random_plan(model, settings), options.lengths, options.rounds, options.threads,
                          options.backend)
    ttft = [one.figures(one.prefill) for one in times]
    return vars(options) | {"ffn": [one.figures(one.ffn) for one in times], "ttft": ttft,
                            "break_even_tokens": break_even(ttft), "cpu": cpu_name(), "git_sha": git_state()[0]}


def main(arguments: list[str]) -> int:
    """0 when measured, 2 for bad input."""
    options = parse(arguments)
    found = invalid(options)
    if found:
        return refuse(found)
    figures = measure(options)
    if options.json:
        print(json.dumps(figures))
        return 0
    print(f"{options.shape}, {options.dtype}, sparsity {options.sparsity}, block {options.block}, "
          f"{options.threads} thread(s), {figures['cpu']}, random weights")
    print("tokens   FFN speedup (p20 to p80)   TTFT speedup (p20 to p80)   dense s   sparse s")
    for ffn, ttft in zip(figures["ffn"], figures["ttft"], strict=True):
        print(f"{ttft['tokens']:6}   {ffn['ratio']:.3f} ({ffn['p20']:.3f} to {ffn['p80']:.3f})     "
              f"{ttft['ratio']:.3f} ({ttft['p20']:.3f} to {ttft['p80']:.3f})     "
              f"{ttft['dense_s']:8.3f}  {ttft['sparse_s']:8.3f}")
    return 0
