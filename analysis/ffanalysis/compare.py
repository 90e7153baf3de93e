"""Two runs beside each other: what was set differently, and paired differences on the same
records.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ffanalysis.load import LoadError, answers, read, runs

RESAMPLES = 2000
MEASURES = {
    "score": "points or shares, higher is better",
    "nll": "gold answer, nats per token, lower is better",
}
FIGURES = (
    "score",
    "nll",
    "kl",
    "top1_agreement",
    "ppl_ratio",
    "recall_at_k",
    "retained_energy",
    "ffn_speedup",
    "ttft_speedup",
    "flops_ratio",
    "density_used",
)


def leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted name -> value of a nested configuration."""
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, Any] = {}
    for name, inner in value.items():
        found |= leaves(inner, f"{prefix}.{name}" if prefix else name)
    return found


def differences(output_dir: Path, first: str, second: str) -> list[tuple[str, Any, Any]]:
    """Settings that differ: name, value of the first run, value of the second."""
    a, b = (leaves(read(output_dir / "runs" / key / "config.json")) for key in (first, second))
    return [
        (name, a.get(name), b.get(name))
        for name in sorted(a.keys() | b.keys())
        if a.get(name) != b.get(name)
    ]


def interval(gaps: np.ndarray) -> tuple[float, float]:
    """95% percentile bootstrap interval of the mean of `gaps` [n]."""
    draws = gaps[np.random.default_rng(0).integers(0, len(gaps), (RESAMPLES, len(gaps)))].mean(1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def paired(output_dir: Path, first: str, second: str) -> pd.DataFrame:
    """Per measure and task: n, both means, their difference (second - first) and its 95% paired
    bootstrap interval.

    Only records that both runs answered count; `alone` says how many others there are.
    """
    frame = answers(output_dir, [first, second])
    rows = []
    for measure in MEASURES:
        wide = frame.pivot_table(
            index=["task", "record_id"], columns="run_key", values=measure, dropna=False
        )
        if not {first, second} <= set(wide.columns):
            continue
        for task, group in wide.groupby(level="task"):
            both = group.dropna()
            if both.empty:
                continue
            gaps = (both[second] - both[first]).to_numpy(dtype=float)
            low, high = interval(gaps)
            rows.append(
                {
                    "measure": measure,
                    "task": task,
                    "n": len(gaps),
                    "first": both[first].mean(),
                    "second": both[second].mean(),
                    "difference": gaps.mean(),
                    "low": low,
                    "high": high,
                    "alone": int(group.notna().any(axis=1).sum()) - len(gaps),
                }
            )
    return pd.DataFrame(rows)


def compare(output_dir: Path, first: str, second: str) -> str:
    """The comparison as text. Raises LoadError where a run is missing or they are the same."""
    if first == second:
        raise LoadError("compare: both keys are the same run")
    frame = runs(output_dir, [first, second])
    lines = ["Settings that differ (first | second)"]
    lines += [
        f"  {name}: {json.dumps(a)} | {json.dumps(b)}"
        for name, a, b in differences(output_dir, first, second)
    ]
    lines.append("Figures")
    for name in FIGURES:
        a, b = (frame[name].iloc[i] for i in (0, 1))
        if not pd.isna(a) or not pd.isna(b):
            lines.append(
                f"  {name}: {'-' if pd.isna(a) else round(a, 4)} | {'-' if pd.isna(b) else round(b, 4)}"
            )
    return "\n".join(lines + record_lines(paired(output_dir, first, second)))


def record_lines(table: pd.DataFrame) -> list[str]:
    """The paired differences in words."""
    if table.empty:
        return [
            "No records in common: copy answers.jsonl of both runs, and stages/answers for a dense one"
        ]
    lines = []
    for measure, text in MEASURES.items():
        part = table[table["measure"] == measure]
        if len(part):
            lines.append(
                f"{measure} on the same records ({text}): first | second, second - first (95% paired bootstrap)"
            )
        for row in part.itertuples():
            alone = f", {row.alone} more in one run only" if row.alone else ""
            lines.append(
                f"  {row.task}: {row.first:.3f} | {row.second:.3f}, {row.difference:+.3f} "
                f"({row.low:+.3f} to {row.high:+.3f}), n = {row.n}{alone}"
            )
    return lines
