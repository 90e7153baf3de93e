"""Make analysis/leaderboard.md from the committed results: python -m tools.docs.leaderboard (make
leaderboard)

A row a sparse run under benchmarks/results/*/runs. The file is written whole each time: edit no
row, commit runs.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from ffanalysis import load, tables
from ffanalysis.plots import common

ROOT = Path(__file__).resolve().parents[2]
RESULTS, TARGET = Path("benchmarks") / "results", Path("analysis") / "leaderboard.md"
COLUMNS = (
    "date",
    "git",
    "model",
    "task",
    "method",
    "sparsity",
    "loss_rel",
    "kl",
    "ttft_speedup",
    "where",
    "command",
)
HEAD = """# Leaderboard

Made by `make leaderboard` from the run folders under `benchmarks/results/`; never edited by hand. Within a model and task
by KL, lowest first. Loss is relative to dense on the same records, KL to dense on held-out text; brackets: 95% bootstrap.
Speedups are medians of paired rounds, selector and compensator included; brackets: p20 to p80. Bold: best of its model,
task and sparsity; oracles are bounds and take no part. Speedups of different processors do not compare.

To add a row: `python -m ffbench ...`, then `python -m tools.docs.readme --take outputs --into NAME` and `make leaderboard`.
"""


def rows(root: Path) -> pd.DataFrame:
    """Every sparse committed run. Raises LoadError where there are none."""
    folders = sorted(path for path in (root / RESULTS).glob("*") if (path / "runs").is_dir())
    frames = [load.runs(folder) for folder in folders]
    if not frames or all((frame["sparsity"] == 0).all() for frame in frames):
        raise load.LoadError(
            f"no done sparse runs under {root / RESULTS}; add some with: python -m tools.docs.readme --take outputs"
        )
    frame = pd.concat(frames, ignore_index=True).drop_duplicates("run_key")
    frame = frame[frame["sparsity"] > 0].sort_values(["model", "task", "kl"], kind="stable")
    sha = frame["git_sha"].map(lambda value: "-" if tables.missing(value) else str(value)[:10])
    return frame.assign(
        date=frame["started"].map(lambda value: "-" if tables.missing(value) else str(value)[:10]),
        git=sha + frame["git_dirty"].map(lambda dirty: "+" if dirty is True else ""),
        method=common.method_names(frame),
        where=[
            f"{cpu}, {threads:g} thr." if not tables.missing(cpu) else "-"
            for cpu, threads in zip(frame["cpu"], frame["threads"], strict=True)
        ],
        command=frame["command"].map(lambda text: "-" if tables.missing(text) else f"`{text}`"),
    )


def page(root: Path) -> str:
    """The file's text."""
    return f"{HEAD}\n{tables.markdown(rows(root), COLUMNS)}\n"


def main() -> int:
    """0 when written, 2 where there is nothing to write."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs.leaderboard", description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout (default: this one)")
    options = parser.parse_args()
    try:
        (options.root / TARGET).write_text(page(options.root))
    except load.LoadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
