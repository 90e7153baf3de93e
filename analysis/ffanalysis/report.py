"""The tables of `python -m ffbench report` and of the end of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ffanalysis import seeds, settings, tables
from ffanalysis.failures import scorer_note
from ffanalysis.frames import LoadError
from ffanalysis.source import Source

STYLES = ("md", "csv", "json", "latex")
MAX_LENGTH = "task.max_length"  # a column of runs that differ in it
BY = ("run", "task", "length", "layer", "seed", "load")
# what an answer sees comes first; scores of small models are mostly noise
RUN_COLUMNS = (
    "kl_continuation",
    "kl_copy",
    "kl_question",
    "top1_continuation",
    "kl_prompt",
    "gold_ppl_ratio",
    "n",
    "score",
    "loss_abs",
    "loss_rel",
    "ffn_speedup",
    "ttft_speedup",
    "ttft_own_dense",
    "wide_speedup",
    "wide_own_dense",
    "flops_used",
    "flops_ratio",
    "seeds",
    "run_key",
)
TASK_COLUMNS = (
    "category",
    "task",
    "n",
    "nll_dense",
    "nll_increase_rel",
    "gold_ppl_ratio",
    "chance",
    "score_dense",
    "score",
    "loss_abs",
    "loss_rel",
    "loss_over_chance",
    "truncated",
    "seeds",
    "run_key",
)
BUCKET_COLUMNS = ("task", "group", *TASK_COLUMNS[2:])
CONTEXT_COLUMNS = (
    "tail",
    "context",
    "n",
    "kl",
    "kl_worst",
    "nll_increase",
    "top1_agreement",
    "seeds",
    "run_key",
)
LAYER_COLUMNS = (
    "layer",
    "kept",
    "density",
    "recall_at_k",
    "retained_energy",
    "token_mixing",
    "seeds",
    "run_key",
)
SERVING_COLUMNS = (
    "origin",
    "input_tokens",
    "rate",
    "requests",
    "round",
    "ttft_p50_s_dense",
    "ttft_p50_s",
    "ttft_p50_speedup",
    "ttft_p90_s_dense",
    "ttft_p90_s",
    "ttft_p90_speedup",
    "ttft_p99_s_dense",
    "ttft_p99_s",
    "ttft_p99_speedup",
    "tpot_p50_s_dense",
    "tpot_p50_s",
    "tpot_p50_speedup",
    "total_tokens_per_s_dense",
    "total_tokens_per_s",
    "density",
)


@dataclass(frozen=True)
class Part:
    """One table: its frame, its columns after the settings, and what names a row in one run."""

    frame: pd.DataFrame
    columns: Sequence[str]
    names: Sequence[str] = ()


def with_config(frame: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The frame with the settings that only the frame of runs has."""
    extra = [name for name in runs if "." in str(name) and name not in frame]
    return frame.merge(runs[["run_key", *extra]], on="run_key", how="left") if extra else frame


def parts(source: Source, by: str) -> list[Part]:
    """The tables of a report. Raises LoadError with a command if the runs cannot feed any."""
    if by == "load":
        return [Part(servings(source), SERVING_COLUMNS)]
    runs = source.runs()
    if by in ("run", "seed"):
        return [Part(tables.ordered(without_dense_losses(runs)), run_columns(runs))]
    if by == "task":
        frame, hint = source.frame("tasks"), "python -m ffbench +sweep=sparsity"
        candidates = [Part(frame[frame["sparsity"] > 0], TASK_COLUMNS, ("task",))]
    elif by == "length":
        groups, fidelity = source.frame("groups"), source.frame("fidelity")
        hint = "python -m ffbench task=longbench_e task.data_dir=FOLDER"
        candidates = [
            Part(fidelity[fidelity["context"].notna()], CONTEXT_COLUMNS, ("tail", "context")),
            Part(
                groups[(groups["kind"] == "bucket") & (groups["sparsity"] > 0)],
                BUCKET_COLUMNS,
                ("task", "group"),
            ),
            Part(by_max_length(source.frame("tasks"), runs), TASK_COLUMNS, ("task",)),
        ]
    else:
        frame, hint = source.frame("layers"), "python -m ffbench +sweep=schedulers"
        candidates = [Part(frame, LAYER_COLUMNS, ("layer",))]
    filled = [
        Part(tables.ordered(with_config(part.frame, runs)), part.columns, part.names)
        for part in candidates
        if len(part.frame)
    ]
    if not filled:
        raise LoadError(f"report --by {by}: no run has these values; start one with: {hint}")
    return filled


def servings(source: Source) -> pd.DataFrame:
    """The loads that both servers answered. Raises LoadError with a command if there is none."""
    frame = source.frame("servings")
    if frame.empty:
        raise LoadError(
            f"report --by load: {source.bench_dir or source.output_dir} has no serve.jsonl with "
            "both servers; make one with: python -m ffbench serve-bench plan=FOLDER model=FOLDER"
        )
    return frame


def by_max_length(frame: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of tasks by the length of their prompts, if there are several; none otherwise."""
    if MAX_LENGTH not in runs or runs[MAX_LENGTH].nunique() < 2:
        return frame.iloc[:0]
    rows = with_config(frame[frame["sparsity"] > 0], runs)
    return rows.sort_values(MAX_LENGTH, kind="stable")


def run_columns(runs: pd.DataFrame) -> list[str]:
    """Columns of the table of runs."""
    return current_columns(RUN_COLUMNS, runs)


def current_columns(columns: Sequence[str], runs: pd.DataFrame) -> list[str]:
    """The columns without KL at the prompt's own positions if every sparse run has answer KL, and
    without FLOPs of a block if every one has those of the whole prompt.
    """
    rows = runs[runs["sparsity"] > 0]
    instead = {"kl_prompt": "kl_continuation", "flops_ratio": "flops_used"}
    return [
        name
        for name in columns
        if name not in instead or rows.empty or rows[instead[name]].isna().any()
    ]


def without_dense_losses(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs, with no loss of dense against itself."""
    runs = runs.copy()
    names = [
        name for name in runs if str(name).startswith(("loss_", "nll_increase", "gold_ppl_ratio"))
    ]
    runs.loc[runs["sparsity"] == 0, names] = None
    return runs


def report(source: Source, style: str = "md", by: str = "run") -> str:
    """The runs as md, csv, json or latex, one row per run, or by task, length, layer or seed; or
    the servers' loads.

    Tables show every setting that differs between their rows; the others are named once, above
    them. Seeds are one row with mean and interval unless `by` is `seed`. csv and json hold every
    column and every seed.

    Raises:
        LoadError: there are no runs, or none with such values.
        ValueError: `style` or `by` is unknown.

    """
    for name, value, valid in (("format", style, STYLES), ("by", by, BY)):
        if value not in valid:
            raise ValueError(f"{name} {value!r} is unknown; valid: {', '.join(valid)}")
    made = parts(source, by)
    if style == "csv":
        return "\n\n".join(part.frame.to_csv(index=False).rstrip("\n") for part in made)
    if style == "json":
        frames = [part.frame.to_json(orient="records", indent=1) for part in made]
        return frames[0] if len(frames) == 1 else "[" + ",\n".join(frames) + "]"
    return "\n\n".join(text_table(part, style, by != "seed") for part in made)


def task_rows(source: Source, most: int) -> str | None:
    """The table of `report(by="task")` without what is above and below it; None if the runs have
    fewer than two tasks, or if it has more than `most` rows.
    """
    try:
        (part,) = parts(source, "task")
    except LoadError:
        return None
    if part.frame["task"].nunique() < 2:
        return None
    table = text_table(part).split("\n\n")[1]
    return table if len(table.splitlines()) - 2 <= most else None


def render(source: Source, style: str = "md", by: str = "run") -> str:
    """The report as the content of a file; `html` is the whole page. Raises as `report` does."""
    if style == "html":
        from ffanalysis.page import build

        return build(source)
    return report(source, style, by) + "\n"


def text_table(part: Part, style: str = "md", collapse: bool = True) -> str:
    """One table with the settings that all its rows share above it, and a note on failed scorers
    below it.
    """
    frame = seeds.collapsed(part.frame, part.names) if collapse else part.frame
    frame = marked(frame)
    leave_out = [name for name in part.names if name in settings.MAIN]
    leave_out += ["seed"] if "seeds" in frame else []
    shown = settings.differing(frame, leave_out)
    if not collapse and "seed" not in shown:
        shown.append("seed")
    columns = [*shown, *(name for name in part.columns if name not in shown)]
    above, note = settings.fixed(frame, leave_out), scorer_note(part.frame)
    if style == "latex":
        return "\n".join(
            [f"% {above}", *([f"% {note}"] if note else []), tables.latex(frame, columns)]
        )
    table = tables.markdown(frame, columns, padded=True)
    return "\n\n".join([above, table, *([note] if note else [])])


def marked(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with `(per token)` after selectors that choose per token."""
    if "per_token" not in frame or not (frame["per_token"] == True).any():  # noqa: E712
        return frame
    suffix = frame["per_token"].map({True: " (per token)"}).fillna("")
    return frame.assign(selector=frame["selector"] + suffix)


def all_tables(source: Source) -> dict[str, str]:
    """File name -> text of the tables of runs, tasks and loads, in every format."""
    endings = {"md": "md", "csv": "csv", "json": "json", "latex": "tex"}
    out = {}
    for name, by in (("runs", "run"), ("tasks", "task"), ("loads", "load")):
        for style, ending in endings.items():
            try:
                out[f"{name}.{ending}"] = report(source, style, by)
            except LoadError:  # runs without tasks make no table of them
                continue
    return out
