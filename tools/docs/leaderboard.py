"""The leaderboard: one row per sparse run under benchmarks/results."""

from pathlib import Path

import pandas as pd

from ffanalysis import load, machines, tables
from ffanalysis.plots import common

RESULTS = Path("benchmarks") / "results"
COLUMNS = (
    "date",
    "git",
    "model",
    "task",
    "method",
    "sparsity",
    "kl_continuation",
    "kl_copy",
    "kl_prompt",
    "gold_ppl_ratio",
    "loss_rel",
    "ttft_speedup",
    "flops_used",
    "where",
    "command",
)


def committed_runs(root: Path) -> pd.DataFrame:
    """Every committed run, with the set that it is in. Raises LoadError if none is sparse."""
    folders = sorted(path.parent for path in (root / RESULTS).glob("*/runs"))
    frames = [load.runs(folder).assign(set=folder.name) for folder in folders]
    if not frames or all((frame["sparsity"] == 0).all() for frame in frames):
        raise load.LoadError(
            f"{root / RESULTS}: no finished sparse runs; add some with: "
            "python -m tools.docs.take outputs"
        )
    return pd.concat(frames, ignore_index=True).drop_duplicates("run_key")


def rows(root: Path) -> pd.DataFrame:
    """Sparse runs by model and task, lowest KL first; older results, which have no answer KL,
    last.
    """
    frame = committed_runs(root)
    frame = frame[frame["sparsity"] > 0].sort_values(
        ["model", "task", "kl_continuation", "kl_prompt"], kind="stable"
    )
    dirty = frame["git_dirty"].map(lambda flag: "+" if flag is True else "")
    extra = {
        "date": frame["started"].map(lambda value: shown(value, 10)),
        "git": frame["git_sha"].map(lambda value: shown(value, 10)) + dirty,
        "method": common.method_names(frame),
        "where": frame.apply(machines.name, axis=1),
        "command": frame["command"].map(lambda text: f"`{text}`" if text else "-"),
    }
    return pd.concat([frame.drop(columns="command"), pd.DataFrame(extra)], axis=1)


def shown(value: object, characters: int) -> str:
    """The beginning of a text, or a dash."""
    return "-" if tables.missing(value) else str(value)[:characters]


def table(root: Path) -> str:
    """The table of the leaderboard."""
    return tables.markdown(rows(root), COLUMNS)
