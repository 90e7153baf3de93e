"""The tables of measured results in README and docs/results.md, with the conditions that they were
measured under. Captions are computed from the rows shown.
"""

from pathlib import Path

import pandas as pd

from ffanalysis import benches, load, plots, settings, tables
from ffanalysis.plots import common
from ffanalysis.plots.speed import SHAPE_SETTINGS
from ffanalysis.report import current_columns
from ffanalysis.run_folders import read_optional, results
from tools.docs import gold

RESULTS = Path("benchmarks") / "results"
PARETO = "docs/pareto.svg"
MOST_ROWS = 6  # of README's table: what a first screen can hold
HEADLINE = (
    "method",
    "sparsity",
    "kl_continuation",
    "kl_copy",
    "kl_prompt",
    "loss_rel",
    "ttft_speedup",
    "ttft_own_dense",
    "flops_used",
    "flops_ratio",
)
TEST_PART = (
    "sparsity",
    "kl_continuation",
    "kl_continuation_worst",
    "kl_copy",
    "kl_copy_worst",
    "nll_increase_copy",
    "top1_continuation",
    "flops_used",
)
LONGBENCH = (
    "method",
    "protocol",
    "sparsity",
    "n",
    "nll_dense",
    "nll_increase_rel",
    "gold_ppl_ratio",
    "score_dense",
    "score",
    "loss_abs",
    "loss_rel",
    "loss_over_chance",
    "kl_continuation",
    "kl_prompt",
)
KERNELS = (
    "shape",
    "dtype",
    "block_size",
    "neurons",
    "ratio_eager",
    "ratio_compiled",
    "ratio_self",
    "ideal",
    "gflops",
    "peak_gflops",
)
SPEEDS = (
    "shape",
    "layers",
    "dtype",
    "method",
    "tokens",
    "cpu",
    "threads",
    "ratio",
    "ffn_ratio",
    "own_dense_ratio",
)
KERNEL_SHAPE, SPEED_TOKENS = "llama3.2-1b", 2048


def named(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by sparsity and method, with the column `method`."""
    frame = tables.ordered(frame)
    return frame.assign(method=common.method_names(frame))


def conditions(frame: pd.DataFrame) -> str:
    """Where and how the numbers of the rows came about."""
    rows = frame[frame["sparsity"] > 0]
    loss = common.headline_loss(rows)
    parts = [settings.fixed(frame), f"n = {common.spread(rows, 'n')} records"]
    if rows[loss].notna().any():
        parts.append(f"{common.windows_of(rows, loss)} for KL")
    if rows["ttft_speedup"].notna().any():
        tokens, brackets = (
            common.spread(rows, "ttft_tokens"),
            common.brackets(rows, "ttft_processes"),
        )
        parts.append(f"TTFT at {tokens} tokens, {brackets}")
    parts.append(common.conditions(rows))
    old = ""
    if rows["kl_continuation"].isna().any() and rows["kl_prompt"].notna().any():
        old = (
            " Prompt KL is measured at the prompt's own positions: superseded, since prefill "
            "throws them away; answer KL was not measured in these runs."
        )
    return f"{'; '.join(part for part in parts if part)}. Brackets: 95% bootstrap.{old}"


def commands(output_dir: Path) -> str:
    """The commands that started the sparse runs, in order of their start."""
    started = sorted(
        (
            read_optional(folder / "provenance.json")
            for folder, result in results(output_dir)
            if not result.dense
        ),
        key=lambda provenance: str(provenance.get("started")),
    )
    words = dict.fromkeys(" ".join(run.get("command") or []) for run in started)
    return ", ".join(f"`{text}`" for text in words if text)


def chance_line(output_dir: Path) -> str:
    """Dense score of each task and that of a guess."""
    frame = load.tasks(output_dir).drop_duplicates("task")
    scores = [
        f"`{row.task}` {row.score_dense:.1f} ({row.chance:.1f})"
        for row in frame.itertuples()
        if not pd.isna(row.chance)
    ]
    return f"Dense scores (chance): {', '.join(scores)}." if scores else ""


def best_first(frame: pd.DataFrame, limit: int = MOST_ROWS) -> pd.DataFrame:
    """At most `limit` sparse rows: at each sparsity those of lowest KL."""
    loss = common.headline_loss(frame)
    rows = frame[frame["sparsity"] > 0].sort_values(loss, kind="stable")
    per_level = max(1, limit // max(1, rows["sparsity"].nunique()))
    return (
        rows.groupby("sparsity", sort=True).head(per_level).sort_values(["sparsity", loss])[:limit]
    )


def headline(root: Path) -> str:
    """README's table: the default sweep, its conditions and its picture."""
    folder = root / RESULTS / "default"
    rows = named(best_first(load.runs(folder)))
    return "\n".join(
        [
            f"{commands(folder)} found:",
            "",
            *map(in_words, best_by_sparsity(rows)),
            "",
            tables.markdown(rows, current_columns(HEADLINE, rows)),
            "",
            f"![Loss against measured speedup]({PARETO})",
            "",
            conditions(rows),
            chance_line(folder),
            *test_line(root),
            *gold.sentence(root),
        ]
    )


def best_by_sparsity(rows: pd.DataFrame) -> list[pd.Series]:
    """The first row of each sparsity that has an answer KL and a speedup."""
    known = rows.dropna(subset=["kl_continuation", "ttft_speedup", "ttft_own_dense"])
    return [row for _, row in known.drop_duplicates("sparsity").iterrows()]


def in_words(row: pd.Series) -> str:
    """What a run lost and gained, as an item of a list."""
    return (
        f"- {row['sparsity']:.0%} of the FFN neurons skipped: the first token comes "
        f"{row['ttft_speedup']:.2f} times as soon as with torch, {row['ttft_own_dense']:.2f} times "
        "as soon as with our own kernels at full density. The answer's next-token distributions "
        f"move by {row['kl_continuation']:.3f} nats per token (KL)."
    )


def test_runs(root: Path) -> pd.DataFrame:
    """The default sweep's plans on the text that nothing was chosen on; empty if not measured."""
    folder = root / RESULTS / "test_part"
    return tables.ordered(load.runs(folder)) if folder.exists() else pd.DataFrame()


def test_line(root: Path) -> list[str]:
    """Their KL in a sentence."""
    values = [
        f"{tables.cell(row, 'kl_continuation')} and {tables.cell(row, 'kl_copy')} at "
        f"{row['sparsity']:.0%}"
        for _, row in test_runs(root).iterrows()
    ]
    if not values:
        return []
    return [
        f"On the test part, which nothing was chosen on, answer and copy KL: {'; '.join(values)}."
    ]


def test_part(root: Path) -> str:
    """The same as a table."""
    folder, rows = root / RESULTS / "test_part", test_runs(root)
    if rows.empty:
        return "Not measured yet."
    return "\n".join(
        [
            f"{commands(folder)}:",
            "",
            tables.markdown(rows, current_columns(TEST_PART, rows)),
            "",
            f"{settings.fixed(rows)}; {common.windows_of(rows, 'kl_continuation')}; "
            f"{common.conditions(rows)}. Brackets: 95% bootstrap over documents.",
        ]
    )


def pareto(root: Path, path: Path) -> None:
    """README's picture."""
    plots.pareto(load.runs(root / RESULTS / "default"), path)


def longbench(root: Path) -> str:
    """LongBench's means, one row per run."""
    folder = root / RESULTS / "longbench"
    frame = load.runs(folder)
    rows = named(frame[frame["sparsity"] > 0]).sort_values(["protocol", "sparsity", "method"])
    if rows.empty:
        return "Not measured yet."
    return "\n".join(
        [
            f"{commands(folder)}:",
            "",
            tables.markdown(rows, current_columns(LONGBENCH, rows)),
            "",
            f"Means over the headline tasks. {conditions(rows)}",
        ]
    )


def kernels(root: Path) -> str:
    """The sparse FFN alone at one shape and half the neurons."""
    frame = benches.kernels(root / RESULTS)
    random = frame["indices"].isna() | (frame["indices"] == "random")
    chosen = (frame["shape"] == KERNEL_SHAPE) & (frame["sparsity"] == 0.5) & random
    rows = plots.last_lines(frame[chosen])
    if rows.empty:
        return "Not measured yet."
    rows = rows.assign(neurons=neurons(rows))
    rows = rows.sort_values(["dtype", "block_size", "group_size", "hot_fraction"], kind="stable")
    return "\n".join(
        [
            tables.markdown(rows, KERNELS),
            "",
            f"`python -m ffkernels.bench --shape {KERNEL_SHAPE} --sparsity 0.5 ...`: the sparse "
            f"FFN alone, {common.spread(rows, 'tokens')} tokens, random sets, "
            f"{common.spread(rows, 'rounds')} interleaved pairs (p20 to p80). "
            f"{common.conditions(rows)}.",
        ]
    )


def neurons(rows: pd.DataFrame) -> pd.Series:
    """How neurons are kept, in words."""
    groups = rows["group_size"].map(
        lambda n: "single" if pd.isna(n) or n <= 1 else f"groups of {n:g}"
    )
    return groups + rows["hot_fraction"].map(lambda h: f", {100 * h:g}% hot" if h > 0 else "")


def speeds(root: Path) -> str:
    """TTFT at the shapes of published models."""
    frame = benches.speeds(root / RESULTS)
    same = [*SHAPE_SETTINGS, "shape"]
    rows = frame[frame["tokens"] == SPEED_TOKENS].drop_duplicates(same, keep="last")
    if rows.empty:
        return "Not measured yet."
    rows = rows.sort_values(["shape", "dtype"], kind="stable")
    sparsity = rows["sparsity"].map(lambda s: f", s={s:g}")
    rounded = rows["backend"].map(lambda name: ", int8 FFNs" if name == "int8" else "")
    rows = rows.assign(
        method=rows["selector"] + " + " + rows["compensator"] + sparsity,
        dtype=rows["dtype"] + rounded,
    )
    return "\n".join(
        [
            tables.markdown(rows, SPEEDS),
            "",
            f"`python -m ffbench speed shape=... speed.lengths=[{SPEED_TOKENS}]`: random weights, "
            f"selector and compensator included, {common.spread(rows, 'rounds')} paired rounds, "
            f"{common.brackets(rows)}. `layers`: how many were built. {common.conditions(rows)}.",
        ]
    )
