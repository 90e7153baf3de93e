"""The generated part of the README: tables of the committed results, with the conditions that they
were measured under.
"""

from pathlib import Path

import pandas as pd

from ffanalysis import benches, load, plots, tables
from ffanalysis.plots import common

RESULTS = Path("benchmarks") / "results"
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
SELECTORS = (
    "selector",
    "compensator",
    "scheduler",
    "kl_prose",
    "kl_code",
    "kl",
    "ppl_ratio",
    "flops_ratio",
)
INTERVALS = "Brackets: 95% bootstrap intervals; for speedups p20 to p80 of paired rounds."
ENOUGH = 4  # rows that make a table worth while
KERNEL_HEADLINE, SPEED_TOKENS = "llama3.2-1b", 2048


def with_method(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by sparsity and method, with the column `method`."""
    frame = tables.ordered(frame)
    return frame.assign(method=common.method_names(frame))


def conditions(frame: pd.DataFrame) -> str:
    """Where and how the runs' numbers came about."""
    frame, sparse = frame[frame["task"].notna()], frame[frame["sparsity"] > 0]
    _, settings = common.same_settings(sparse)
    timed = (
        f", TTFT at {common.spread(sparse, 'ttft_tokens')} tokens"
        if sparse["ttft_tokens"].notna().any()
        else ""
    )
    return (
        f"{common.values(frame, 'model')}, {settings}, first and last block dense; n = {common.spread(frame, 'n')} prompts "
        f"({common.values(frame, 'task')}), {common.spread(sparse, 'windows')} held-out windows for KL{timed}. "
        f"{common.conditions(sparse)}. {INTERVALS}"
    )


def commands(output_dir: Path) -> str:
    """The commands that started the sparse runs, in order of their start."""
    started = sorted(
        (
            load.read(folder / "provenance.json")
            for folder, result in load.results(output_dir)
            if result["sparsity"]
        ),
        key=lambda one: str(one.get("started")),
    )
    return ", ".join(
        f"`{one}`" for one in dict.fromkeys(" ".join(run.get("command") or []) for run in started)
    )


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
        f"{commands(output_dir)}:",
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
        f"{commands(output_dir)}:",
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
    rows = plots.last_lines(
        frame[(frame["shape"] == KERNEL_HEADLINE) & (frame["sparsity"] == 0.5) & plain]
    )
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
    rows = rows.sort_values(["shape", "dtype"], kind="stable").assign(
        method=rows["selector"]
        + " + "
        + rows["compensator"]
        + rows["sparsity"].map(lambda s: f", s={s:g}")
    )
    return [
        "### Time to first token at published shapes",
        "",
        tables.markdown(rows, SPEEDS),
        "",
        (
            f"`python -m ffbench speed shape=... speed.lengths=[{SPEED_TOKENS}]`: random weights, selector and compensator included, "
            f"{common.spread(rows, 'rounds')} paired rounds (p20 to p80). {common.conditions(rows)}. "
            "How to read bfloat16 on processors without AMX, and other lengths: [docs/kernels.md](docs/kernels.md#time-to-first-token)."
        ),
        "",
    ]


def selectors(bench_dir: Path) -> list[str]:
    """KL of selector and compensator pairs on the same text, folded; nothing where there are no
    lines.
    """
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
    rows = rows.assign(
        selector=rows["selector"] + rows["per_token"].map({True: " (per token)", False: ""})
    )
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
