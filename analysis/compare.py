"""Two runs beside each other: what was set differently, and paired score differences."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.load import LoadError, answers, read, runs

RESAMPLES = 2000
FIGURES = ("score", "kl", "top1_agreement", "ppl_ratio", "recall_at_k", "retained_energy", "ffn_speedup",
           "ttft_speedup", "flops_ratio", "density_used")


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
    return [(name, a.get(name), b.get(name)) for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)]


def paired(output_dir: Path, first: str, second: str) -> pd.DataFrame:
    """Per task: n, both means, their difference (second - first) and its 95% paired bootstrap interval."""
    frame = answers(output_dir, [first, second])
    if frame.empty:
        return frame
    wide = frame.pivot_table(index=["task", "record_id"], columns="run_key", values="score").dropna()
    if first not in wide or second not in wide:
        return pd.DataFrame()
    rows = []
    for task, group in wide.groupby(level="task"):
        gap = (group[second] - group[first]).to_numpy()
        draws = gap[np.random.default_rng(0).integers(0, len(gap), (RESAMPLES, len(gap)))].mean(1)
        low, high = np.percentile(draws, [2.5, 97.5])
        rows.append({"task": task, "n": len(gap), "first": group[first].mean(), "second": group[second].mean(),
                     "difference": gap.mean(), "low": low, "high": high})
    return pd.DataFrame(rows)


def compare(output_dir: Path, first: str, second: str) -> str:
    """The comparison as text. Raises LoadError where a run is missing or they are the same."""
    if first == second:
        raise LoadError("compare: both keys are the same run")
    frame = runs(output_dir, [first, second])
    lines = ["Settings that differ (first | second)"]
    lines += [f"  {name}: {json.dumps(a)} | {json.dumps(b)}" for name, a, b in differences(output_dir, first, second)]
    lines.append("Figures")
    for name in FIGURES:
        a, b = (frame[name].iloc[i] for i in (0, 1))
        if not pd.isna(a) or not pd.isna(b):
            lines.append(f"  {name}: {a if pd.isna(a) else round(a, 4)} | {b if pd.isna(b) else round(b, 4)}")
    table = paired(output_dir, first, second)
    lines.append("Scores on the same records, second - first (95% paired bootstrap)")
    if table.empty:
        lines.append("  no records in common (dense runs keep their answers in the shared stage)")
    for row in table.itertuples():
        lines.append(f"  {row.task}: {row.first:.2f} | {row.second:.2f}, {row.difference:+.2f} "
                     f"({row.low:+.2f} to {row.high:+.2f}), n = {row.n}")
    return "\n".join(lines)
