"""Command line of `make gpu`."""

import argparse
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.gpu.card import Environment, EnvironmentProblem, environment
from benchmarks.gpu.run import Runner, run_all
from benchmarks.gpu.steps import Step, steps

ROOT = Path(__file__).resolve().parents[2]
MINUTES = {False: 10.0, True: 2.0}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="make gpu",
        description="Tests, tile search, kernel and TTFT benchmarks on this machine's CUDA "
        "card. Each result is appended to gpu.jsonl as it comes.",
    )
    parser.add_argument("--quick", action="store_true", help="four measurements in two minutes")
    parser.add_argument("--minutes", type=float, help="limit for everything (default 10; quick 2)")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs/gpu"))
    parser.add_argument("--list", action="store_true", help="print the commands and stop")
    options = parser.parse_args(arguments)
    if options.minutes is not None and not 0 < options.minutes <= 24 * 60:
        parser.error(
            f"--minutes: expected more than 0 and at most 1440, received {options.minutes}"
        )
    return options


def problem(seen: Environment) -> str | None:
    """Why nothing can be measured although a card may be there, or None."""
    if seen.card or seen.driver is None:
        return None
    if seen.torch is None:
        return (
            "this machine has a card, but this environment has no torch; install it or give "
            "PYTHON=..."
        )
    return (
        f"this machine has a card, but torch {seen.torch} does not see it; install a CUDA build "
        "(docs/dependencies.md) or give PYTHON=..."
    )


def headline(line: dict[str, Any]) -> str:
    """The speedup that a step measured, or why it has none."""
    result = line.get("result", {})
    if "reason" in line:
        return f": {line['reason']}"
    if line["status"] != "ok":
        return ": " + " ".join(line["output_end"].strip().splitlines()[-1:])
    if "ratio_eager" in result:
        return f", {result['ratio_eager']:.2f}x compared with torch eager"
    if result.get("ttft"):
        return f", TTFT {result['ttft'][0]['ratio']:.2f}x" + others(result)
    return ""


def others(result: dict[str, Any]) -> str:
    """The speedups compared with the better dense models of a TTFT step, and by the final-layer
    rule.
    """
    over = {name: one["ratio"] for name, one in (result.get("baselines") or [{}])[0].items()}
    for one in (result.get("final_layer") or [])[:1]:
        over["both by the final-layer rule"] = one["ratio"]
    text = ", ".join(f"{name} {ratio:.2f}x" for name, ratio in over.items())
    return f" ({text})" if text else ""


def commit() -> str | None:
    """Commit of the measured code, None outside a repository."""
    command = ["git", "rev-parse", "--short=10", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    except OSError:
        return None
    return done.stdout.strip() or None


def main(arguments: list[str] | None = None, python: tuple[str, ...] = (sys.executable,)) -> int:
    """Exit code: 0, also without a card; 1 if a step failed or timed out; 2 for bad input."""
    options = parse(arguments)
    output = options.output_dir.resolve()
    inside = output.is_relative_to(ROOT)  # relative, so that the results name no folder of the user
    todo = steps(options.quick, output.relative_to(ROOT) if inside else output)
    if options.list:
        for step in todo:
            print(f"{step.seconds:4.0f} s  python -m {step.module} {' '.join(step.arguments)}")
        return 0
    try:
        seen = environment(python, ROOT)
        reason = problem(seen)
    except EnvironmentProblem as error:
        reason = str(error)
    if reason:
        print(f"error: {reason}", file=sys.stderr)
        return 2
    if not seen.card:
        print("make gpu: this machine has no CUDA card, so nothing was measured.")
        return 0
    return measure(options, output, seen, todo, python)


def measure(
    options: argparse.Namespace,
    output: Path,
    seen: Environment,
    todo: list[Step],
    python: tuple[str, ...],
) -> int:
    """Run the steps and print a line for each."""
    facts = {"card": seen.card, "commit": commit(), "started": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    runner = Runner(python, ROOT, output / "gpu.jsonl", facts, seen.packages)
    runner.append({"step": "environment", "status": "ok", "result": seen.facts()})
    minutes = MINUTES[options.quick] if options.minutes is None else options.minutes
    longer = max(1.0, minutes / MINUTES[options.quick])  # a longer run gives each step more time
    todo = [replace(step, seconds=longer * step.seconds) for step in todo]
    print(
        f"{seen.card}, {seen.memory_gib} GiB, torch {seen.torch}, triton {seen.triton}, "
        f"driver {seen.driver}: {len(todo)} steps in at most {minutes:g} minutes",
        flush=True,
    )

    def report(number: int, line: dict[str, Any]) -> None:
        time_taken = f", {line['seconds']} s" if "seconds" in line else ""
        head = f"[{number}/{len(todo)}] {line['step']}: {line['status']}{time_taken}"
        print(head + headline(line), flush=True)

    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # so that the running step is ended too
    try:
        lines = run_all(runner, todo, 60 * minutes, report)
    except KeyboardInterrupt:
        print(f"interrupted; what was measured is in {runner.results}", file=sys.stderr)
        return 130
    counts = {
        status: sum(line["status"] == status for line in lines)
        for status in ("ok", "failed", "timeout", "skipped")
    }
    print(", ".join(f"{n} {status}" for status, n in counts.items() if n) + f"; {runner.results}")
    return 1 if counts["failed"] or counts["timeout"] else 0
