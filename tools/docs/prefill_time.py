"""Where a prefill's time and the main job's time go, from benchmarks/results."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ffanalysis import benches
from ffanalysis.tables import grid

ARMS = {
    "dense": "torch, dense",
    "own_dense": "our kernels and products, dense",
    "sparse": "the plan",
}
FACTS = ("cpu", "threads", "git_sha")


def newest(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last line of each arm, of the commit and processor that were measured last."""
    same = [line for line in lines if all(line[name] == lines[-1][name] for name in FACTS)]
    last = {line["arm"]: line for line in same}
    return [last[arm] for arm in ARMS if arm in last]


def facts(line: dict[str, Any]) -> str:
    """Processor, threads and commit."""
    return f"{line['cpu']}, {line['threads']} threads, git {line['git_sha'][:10]}"


def profile(root: Path) -> str:
    """Milliseconds of each part of a prefill by arm."""
    lines = benches.lines(root / "benchmarks" / "results" / "prefill_profile.jsonl")
    if not lines:
        return "Not measured yet."
    arms = newest(lines)
    parts = sorted(arms[0]["seconds"], key=lambda part: -arms[0]["seconds"][part])
    parts = [part for part in parts if part != "total"] + ["total"]
    rows = [[part, *(f"{arm['seconds'][part] * 1e3:.0f}" for arm in arms)] for part in parts]
    first = arms[-1]
    return "\n".join(
        [
            grid(["milliseconds", *(ARMS[arm["arm"]] for arm in arms)], rows),
            "",
            f"`{first['command']}`: {first['model']}, plan at sparsity {first['sparsity']}, "
            f"{first['tokens']:,} tokens, medians of {first['rounds']} rounds in turn; "
            f"{facts(first)}.",
        ]
    )


def stage_rates(root: Path) -> str:
    """Seconds, FLOPs and rate of each stage of the main job."""
    lines = benches.lines(root / "benchmarks" / "results" / "stage_rates.jsonl")
    if not lines:
        return "Not measured yet."
    line = lines[-1]
    rows = []
    for name, total in sorted(line["stages"].items(), key=lambda item: -item[1]["seconds"]):
        rate = total["flops"] / total["seconds"]
        counted = total["flops"] > 0
        rows.append(
            [
                name,
                f"{total['seconds']:.0f}",
                f"{total['flops'] / 1e12:.1f}" if counted else "-",
                f"{rate / 1e9:.0f}" if counted else "-",
                f"{100 * rate / line['peak_flops']:.0f}" if counted else "-",
            ]
        )
    whole = sum(total["seconds"] for total in line["stages"].values())
    return "\n".join(
        [
            grid(["stage", "seconds", "TFLOP", "GFLOP/s", "% of peak"], rows),
            "",
            f"`{line['command']}`: {whole:.0f} s in all; peak {line['peak_flops'] / 1e9:.0f} "
            f"GFLOP/s, measured with square float32 products; {facts(line)}.",
        ]
    )
