"""The table of docs/growth.md, from benchmarks/results/growth.jsonl."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ffanalysis import benches
from ffanalysis.tables import grid

NAMES = {
    "jobs": "sweep against jobs",
    "tokens": "plan against calibration tokens",
    "width": "plan against width d",
    "runs": "report against runs",
}


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float | None:
    """Least-squares slope of log(seconds) over log(sizes); None for fewer than two sizes."""
    x, y = ([math.log(value) for value in values] for values in (sizes, seconds))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((value - mean_x) ** 2 for value in x)
    if not spread:
        return None
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread


def of_newest(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of the commit and processor that were measured last, by size, the last of each."""
    same = ("git_sha", "cpu", "threads")
    kept = [line for line in lines if all(line[name] == lines[-1][name] for name in same)]
    last = {line["size"]: line for line in kept}
    return [last[size] for size in sorted(last)]


def row(name: str, lines: Sequence[dict[str, Any]]) -> list[str]:
    """Sizes, seconds, the exponent over all sizes, and that of the two largest."""
    sizes, seconds = [line["size"] for line in lines], [line["seconds"] for line in lines]
    slopes = (exponent(sizes, seconds), exponent(sizes[-2:], seconds[-2:]))
    peak = lines[-1].get("peak_gigabytes")
    return [
        name,
        ", ".join(f"{size:,}" for size in sizes),
        ", ".join(f"{value:.2f}" for value in seconds),
        *("-" if slope is None else f"{slope:.2f}" for slope in slopes),
        "-" if peak is None else f"{peak:.2f} GB",
    ]


def table(root: Path) -> str:
    """One row per quantity, and one for a sweep whose jobs are done."""
    lines = benches.lines(root / "benchmarks" / "results" / "growth.jsonl")
    if not lines:
        return "Not measured yet."
    rows, used = [], []
    for growth, title in NAMES.items():
        own = of_newest([line for line in lines if line["growth"] == growth])
        if own:
            used += own
            rows.append(row(title, own))
        if own and growth == "jobs":
            done = [line | {"seconds": line["done_seconds"]} for line in own]
            rows.append(
                row("the same sweep, all done", [d | {"peak_gigabytes": None} for d in done])
            )
    heads = ["cost", "sizes", "seconds", "exponent", "at the two largest", "peak memory"]
    facts = {
        name: sorted({str(line[name]) for line in used}) for name in ("cpu", "threads", "git_sha")
    }
    text = "; ".join(f"{name} {', '.join(values)}" for name, values in facts.items())
    return "\n".join([grid(heads, rows), "", f"`python benchmarks/growth.py`: {text}."])
