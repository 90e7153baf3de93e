"""Keep README's tables and picture in step with the committed results.

python -m analysis.readme                                     rewrite README's generated part (make readme)
python -m analysis.readme --take outputs                      first copy the done runs of that folder
python -m analysis.readme --take outputs --into longbench     the same, as the LongBench runs
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

import pandas as pd

from analysis import benches, load, plots, tables
from analysis.plots import common

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path("benchmarks") / "results"
START, END = "<!-- results: made by `make readme` -->", "<!-- end of results -->"
HEADLINE = (
    "method",
    "sparsity",
    "score",
    "loss_abs",
    "loss_rel",
    "kl",
    "ppl_ratio",
    "ffn_speedup",
    "ttft_speedup",
    "flops_ratio",
)
LONGBENCH = (
    "method",
    "protocol",
    "sparsity",
    "n",
    "score_dense",
    "score",
    "loss_abs",
    "loss_rel",
    "nll_dense",
    "nll_gain_rel",
    "kl",
)
KERNELS = (
    "shape",
    "dtype",
    "block",
    "rows",
    "ratio_eager",
    "ratio_compiled",
    "ratio_self",
    "ideal",
    "gflops",
    "peak_gflops",
)
SPEEDS = ("shape", "dtype", "method", "tokens", "threads", "ratio", "ffn_ratio")
SELECTORS = ("selector", "compensator", "scheduler", "kl_prose", "kl_code", "kl", "ppl_ratio", "flops_ratio")
INTERVALS = "Brackets: 95% bootstrap intervals; for speedups p20 to p80 of paired rounds."
ENOUGH = 4  # rows that make a table worth while
KERNEL_HEADLINE, SPEED_TOKENS = "llama3.2-1b", 2048


def take(output_dir: Path, target: Path) -> None:
    """Copy the small files of every done run, and the sweep lists, into the committed results.

    Raises LoadError where there are no done runs; what was committed before stays then.
    """
    found = load.results(output_dir)
    if not found:
        raise load.LoadError(load.NO_RUNS.format(output_dir))
    shutil.rmtree(target, ignore_errors=True)
    for folder, _ in found:
        (target / "runs" / folder.name).mkdir(parents=True)
        for name in ("result.json", "config.json", "provenance.json"):
            shutil.copy(folder / name, target / "runs" / folder.name / name)
    if (output_dir / "sweeps").is_dir():
        shutil.copytree(
            output_dir / "sweeps",
            target / "sweeps",
            ignore=lambda _, names: [name for name in names if not name.endswith(".json")],
        )


def with_method(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by sparsity and method, with the column `method`."""
    frame = tables.ordered(frame)
    return frame.assign(method=common.method_names(frame))


def conditions(frame: pd.DataFrame) -> str:
    """Where and how the runs' numbers came about."""
    frame, sparse = frame[frame["task"].notna()], frame[frame["sparsity"] > 0]
    _, settings = common.same_settings(sparse)
    return (
        f"{common.values(frame, 'model')}, {settings}, first and last block dense; n = {common.spread(frame, 'n')} prompts "
        f"({common.values(frame, 'task')}), {common.spread(sparse, 'windows')} held-out windows for KL, TTFT at "
        f"{common.spread(sparse, 'ttft_tokens')} tokens. {common.conditions(sparse)}. {INTERVALS}"
    )


def sweep_command(output_dir: Path) -> str:
    """The command that started the newest sparse run."""
    newest = max(
        (
            load.read(folder / "provenance.json")
            for folder, result in load.results(output_dir)
            if result["sparsity"]
        ),
        key=lambda one: str(one.get("started")),
    )
    return " ".join(newest.get("command") or [])


def task_line(output_dir: Path) -> str:
    """Dense score of each task beside that of a guess."""
    frame = load.tasks(output_dir).drop_duplicates("task")
    return (
        "Dense scores (a guess): "
        + ", ".join(
            f"`{row.task}` {row.score_dense:.1f} ({row.chance:.1f})"
            for row in frame.itertuples()
            if not pd.isna(row.chance)
        )
        + "."
    )


def headline(output_dir: Path) -> list[str]:
    """The table of the default sweep, its conditions and its picture."""
    frame = with_method(load.runs(output_dir))
    losses = [name for name in frame.columns if name.startswith(("loss", "nll_gain"))]
    frame.loc[frame["sparsity"] == 0, losses] = None
    return [
        f"`{sweep_command(output_dir)}`:",
        "",
        tables.markdown(frame, HEADLINE),
        "",
        conditions(frame),
        task_line(output_dir),
        "",
        "![Loss against measured speedup](docs/pareto.svg)",
        "",
    ]


def longbench(output_dir: Path) -> list[str]:
    """LongBench's mean and tasks; nothing where there are no runs."""
    frame = load.runs(output_dir)
    if frame.empty:
        return []
    rows = with_method(frame[frame["sparsity"] > 0]).sort_values(["protocol", "method", "sparsity"])
    return [
        "### LongBench",
        "",
        f"`{sweep_command(output_dir)}`:",
        "",
        tables.markdown(rows, LONGBENCH),
        "",
        f"Means over the headline tasks; task by task: [docs/longbench.md](docs/longbench.md). {conditions(frame)}",
        "",
    ]


def kernels(bench_dir: Path) -> list[str]:
    """The kernel lines of the headline shape; nothing where there are none."""
    frame = benches.kernels(bench_dir)
    plain = frame["indices"].isna() | (frame["indices"] == "random")
    rows = plots.last_lines(frame[(frame["shape"] == KERNEL_HEADLINE) & (frame["sparsity"] == 0.5) & plain])
    if rows.empty:
        return []
    rows = rows.assign(
        rows=rows["group"].map(lambda n: "any" if pd.isna(n) or n <= 1 else f"groups of {n:g}")
        + rows["hot_fraction"].map(lambda h: f", {100 * h:g}% hot" if h > 0 else "")
    )
    rows = rows.sort_values(["dtype", "block", "group", "hot_fraction"], kind="stable")
    return [
        "### Kernels",
        "",
        tables.markdown(rows, KERNELS),
        "",
        (
            f"`python -m ffkernels.bench --shape {KERNEL_HEADLINE} --sparsity 0.5 ...`: the sparse FFN alone, "
            f"{common.spread(rows, 'tokens')} tokens, random sets, {common.spread(rows, 'rounds')} interleaved pairs (p20 to p80). "
            f"{common.conditions(rows)}."
        ),
        "",
    ]


def speeds(bench_dir: Path) -> list[str]:
    """TTFT at the shapes of published models; nothing where there are no lines."""
    frame = benches.speeds(bench_dir)
    rows = frame[frame["tokens"] == SPEED_TOKENS].drop_duplicates(
        [
            "shape",
            "dtype",
            "selector",
            "compensator",
            "sparsity",
            "block",
            "group",
            "hot_fraction",
            "threads",
            "backend",
        ],
        keep="last",
    )
    if rows.empty:
        return []
    rows = rows.assign(
        method=rows["selector"] + " + " + rows["compensator"] + rows["sparsity"].map(lambda s: f", s={s:g}")
    )
    return [
        "### Time to first token at published shapes",
        "",
        tables.markdown(rows, SPEEDS),
        "",
        (
            f"`python -m ffbench speed shape=... speed.lengths=[{SPEED_TOKENS}]`: random weights, selector and compensator included, "
            f"{common.spread(rows, 'rounds')} paired rounds (p20 to p80). {common.conditions(rows)}."
        ),
        "",
    ]


def selectors(bench_dir: Path) -> list[str]:
    """KL of selector and compensator pairs on the same text, folded; nothing where there are no lines."""
    frame = benches.selections(bench_dir)
    if frame.empty:
        return []
    level = frame["sparsity"].mode().iloc[0]
    rows, _ = common.same_settings(frame[frame["sparsity"] == level])
    if "key" in rows:  # lines of before have no key: they were judged on another held-out text
        keyed = rows["key"].notna()
        rows = rows[keyed] if keyed.sum() >= ENOUGH else rows[~keyed]
    counts = rows["windows"].value_counts()
    enough = counts[counts >= min(ENOUGH, counts.max())]
    rows = rows[rows["windows"] == enough.index.max()]
    rows = rows.assign(selector=rows["selector"] + rows["per_token"].map({True: " (per token)", False: ""}))
    rows = rows.sort_values("kl")
    return [
        "<details><summary>Selectors and compensators side by side</summary>",
        "",
        tables.markdown(rows, SELECTORS),
        "",
        (
            f"`python benchmarks/accuracy_selectors.py`: KL to dense at sparsity {level:g}, rank {common.spread(rows, 'rank')}, "
            f"{common.spread(rows, 'windows')} held-out windows of {common.spread(rows, 'window_tokens')} tokens. "
            f"{common.conditions(rows)}. `oracle` sees the exact activations: a bound, no speedup."
        ),
        "",
        "</details>",
        "",
    ]


def section(root: Path) -> str:
    """The generated part of the README."""
    folder = root / RESULTS
    return "\n".join(
        [
            "",
            *headline(folder / "default"),
            *longbench(folder / "longbench"),
            *kernels(folder),
            *speeds(folder),
            *selectors(folder),
        ]
    )


def rewrite(root: Path) -> None:
    """Put tables and picture in. Raises LoadError where there is nothing to make them of, or no place for them."""
    readme = root / "README.md"
    text = readme.read_text()
    if text.count(START) != 1 or text.count(END) != 1:
        raise load.LoadError(f"{readme}: needs the lines {START} and {END}, once each")
    made = section(root)
    plots.pareto(load.runs(root / RESULTS / "default"), root / "docs" / "pareto.svg")
    (root / "docs" / "pareto.png").unlink(missing_ok=True)
    before, rest = text.split(START)
    readme.write_text(f"{before}{START}\n{made}{END}{rest.split(END)[1]}")


def main() -> int:
    """0 when rewritten, 2 where there is nothing to make it of."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.readme",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--take", type=Path, metavar="OUTPUT_DIR", help="first copy the done runs of this folder"
    )
    parser.add_argument(
        "--into",
        default="default",
        metavar="NAME",
        help="folder under benchmarks/results: default, longbench, or another that only the leaderboard shows",
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout (default: this one)")
    options = parser.parse_args()
    if not re.fullmatch(r"[A-Za-z0-9_-]+", options.into):
        parser.error(f"--into: use letters, digits, _ and -, not {options.into!r}")
    try:
        if options.take:
            take(options.take, options.root / RESULTS / options.into)
        rewrite(options.root)
    except (load.LoadError, plots.NothingToDraw) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
