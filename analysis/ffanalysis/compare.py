"""Two runs compared: what was set differently, and paired differences on the same windows and
records.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ffanalysis import machines
from ffanalysis.load import LoadError, answers, runs, windows
from ffanalysis.run_folders import read_config, results
from ffanalysis.settings import leaves

RESAMPLES = 2000
RECORD_MEASURES = {
    "nll": "gold answer, nats per token, lower is better",
    "score": "points or shares, higher is better",
}
WINDOW_MEASURES = {
    "kl": "KL to dense at tail positions, nats per token, lower is better",
    "nll_sparse": "NLL of the tail, nats per token, lower is better",
}
WINDOW = ("text", "document", "context", "tail")
METRICS = (
    "kl_continuation",
    "kl_copy",
    "kl_question",
    "nll_increase_continuation",
    "nll_increase_copy",
    "top1_continuation",
    "kl_prompt",
    "ppl_ratio_prompt",
    "nll",
    "gold_ppl_ratio",
    "score",
    "recall_at_k",
    "retained_energy",
    "ffn_speedup",
    "ttft_speedup",
    "flops_used",
    "flops_ratio",
    "density_used",
)


def differences(output_dir: Path, first: str, second: str) -> list[tuple[str, Any, Any]]:
    """Settings that differ: name, value of the first run, value of the second."""
    runs_of_both = results(output_dir, [first, second])
    a, b = (leaves(read_config(folder, result)) for folder, result in runs_of_both)
    return [
        (name, a.get(name), b.get(name))
        for name in sorted(a.keys() | b.keys())
        if a.get(name) != b.get(name)
    ]


def interval(groups: Sequence[np.ndarray]) -> tuple[float, float]:
    """95% percentile bootstrap interval of the mean of all values; each group [n_i] is resampled by
    itself.
    """
    generator, total = np.random.default_rng(0), sum(map(len, groups))
    sums = np.zeros(RESAMPLES)
    for group in groups:
        sums += group[generator.integers(0, len(group), (RESAMPLES, len(group)))].sum(1)
    low, high = np.percentile(sums / total, [2.5, 97.5])
    return float(low), float(high)


def row_of(measure: str, part: str, pairs: pd.DataFrame, groups: Sequence[np.ndarray]) -> dict:
    """Means of both runs, their difference (second - first) and its interval."""
    both = pairs.dropna()
    low, high = interval(groups)
    return {
        "measure": measure,
        "part": part,
        "n": len(both),
        "first": both["first"].mean(),
        "second": both["second"].mean(),
        "difference": float(np.concatenate(groups).mean()),
        "low": low,
        "high": high,
        "unpaired": int(pairs.notna().any(axis=1).sum()) - len(both),
    }


def pairs_of(
    frame: pd.DataFrame, index: Sequence[str], measure: str, first: str, second: str
) -> pd.DataFrame | None:
    """Values of both runs by `index`; None if a run has none."""
    wide = frame.pivot_table(index=list(index), columns="run_key", values=measure, dropna=False)
    if not {first, second} <= set(wide.columns):
        return None
    return wide[[first, second]].set_axis(["first", "second"], axis=1)


def paired_windows(output_dir: Path, first: str, second: str) -> pd.DataFrame:
    """Per measure and tail, the paired difference on the same held-out windows.

    A document's windows are averaged; documents are resampled within their text.
    """
    frame, rows = windows(output_dir, [first, second]), []
    for measure in WINDOW_MEASURES:
        wide = pairs_of(frame, WINDOW, measure, first, second)
        for tail, pairs in wide.groupby(level="tail") if wide is not None else ():
            gaps = (pairs["second"] - pairs["first"]).dropna()
            documents = gaps.groupby(level=["text", "document"]).mean()
            groups = [part.to_numpy() for _, part in documents.groupby(level="text")]
            if groups:
                rows.append(row_of(measure, str(tail), pairs, groups))
    return pd.DataFrame(rows)


def paired_records(output_dir: Path, first: str, second: str) -> pd.DataFrame:
    """Per measure and task, the paired difference on the records that both runs answered."""
    frame, rows = answers(output_dir, [first, second]), []
    for measure in RECORD_MEASURES:
        wide = pairs_of(frame, ("task", "record_id"), measure, first, second)
        for task, pairs in wide.groupby(level="task") if wide is not None else ():
            gaps = (pairs["second"] - pairs["first"]).dropna().to_numpy(dtype=float)
            if len(gaps):
                rows.append(row_of(measure, str(task), pairs, [gaps]))
    return pd.DataFrame(rows)


def compare(output_dir: Path, first: str, second: str) -> str:
    """The comparison as text. Raises LoadError if a run is missing or both are the same."""
    if first == second:
        raise LoadError("compare: both keys name the same run")
    frame = runs(output_dir, [first, second])
    lines = ["Settings that differ (first | second)"]
    lines += [
        f"  {name}: {json.dumps(a)} | {json.dumps(b)}"
        for name, a, b in differences(output_dir, first, second)
    ]
    lines.append("Results")
    for name in METRICS:
        a, b = frame[name]
        if not pd.isna(a) or not pd.isna(b):
            lines.append(f"  {name}: {rounded(a)} | {rounded(b)}")
    if frame["ttft_speedup"].notna().all() and machines.count(frame) > 1:
        places = " | ".join(machines.name(row) for _, row in frame.iterrows())
        lines.append(f"  the machines differ, so do not compare the speedups: {places}")
    lines += difference_lines(
        paired_windows(output_dir, first, second),
        WINDOW_MEASURES,
        "windows",
        "No held-out windows in common: dense runs and results of schema 1 have none",
    )
    lines += difference_lines(
        paired_records(output_dir, first, second),
        RECORD_MEASURES,
        "records",
        "No records in common: copy answers.jsonl of both runs, and stages/answers for a dense one",
    )
    return "\n".join(lines)


def rounded(value: float) -> str:
    """A value with four digits, or a dash."""
    return "-" if pd.isna(value) else f"{round(value, 4)}"


def difference_lines(
    table: pd.DataFrame, measures: dict[str, str], what: str, nothing: str
) -> list[str]:
    """Paired differences in words, or `nothing`."""
    if table.empty:
        return [nothing]
    lines = []
    for measure, text in measures.items():
        part = table[table["measure"] == measure]
        if len(part):
            lines.append(
                f"{measure} on the same {what} ({text}): first | second, second - first "
                "(95% paired bootstrap)"
            )
        for row in part.itertuples():
            unpaired = f", {row.unpaired} more in one run only" if row.unpaired else ""
            lines.append(
                f"  {row.part}: {row.first:.3f} | {row.second:.3f}, {row.difference:+.3f} "
                f"({row.low:+.3f} to {row.high:+.3f}), n = {row.n}{unpaired}"
            )
    return lines
