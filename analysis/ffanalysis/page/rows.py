"""The page's table: columns, rows, and the runs behind a row."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ffanalysis import load, settings, tables
from ffanalysis.formats import column_format
from ffanalysis.report import RUN_COLUMNS, run_columns

HELP = {
    "kl_continuation": "of the tokens after a sparse context, to dense, nats per token",
    "kl_copy": "the same where the text repeats a passage of the context",
    "kl_question": "the same for gold answers to questions on the context",
    "kl_prompt": "at the prompt's own positions, nats per token: a diagnostic",
    "top1_continuation": "tokens whose first choice is the dense one",
    "gold_ppl_ratio": "gold answer's perplexity, sparse over dense",
    "score": "points, mean over the headline tasks",
    "loss_abs": "dense minus sparse on the same records, points",
    "loss_rel": "loss over the dense score",
    "ffn_speedup": "dense over sparse FFN time, selector and compensator included",
    "ttft_speedup": "dense over sparse time to first token",
    "ttft_own_dense": "time of our own kernels with every neuron kept over sparse time",
    "wide_speedup": "TTFT speedup at a wide published shape with random weights: time only",
    "wide_own_dense": "the same over our own kernels with every neuron kept",
    "flops_used": "FFN FLOPs of the whole prompts over dense, all included",
    "flops_ratio": "FFN FLOPs of a sparse block over dense, all included",
    "seeds": "runs of this setting; values are means, intervals are over seeds",
}
NOT_IN_TABLE = ("run_key",)


@dataclass(frozen=True)
class Cell:
    """One cell: its text, its interval, the value it sorts by, and whether it is the best among
    comparable rows.
    """

    label: str
    text: str
    interval: str = ""
    value: float | str = ""
    best: bool = False


@dataclass(frozen=True)
class Member:
    """One run behind a row, with what its details show."""

    key: str
    command: str
    facts: list[tuple[str, str]]
    config: str
    provenance: str


@dataclass(frozen=True)
class Row:
    """One row of the page: a run, or several seeds of one setting."""

    cells: list[Cell]
    filters: dict[str, str]
    members: list[Member]


@dataclass(frozen=True)
class Column:
    """One column: its name in the frame, its heading and its help."""

    name: str
    heading: str
    help: str


def columns_of(frame: pd.DataFrame) -> list[Column]:
    """The settings that differ between the rows, then the measurements that some row has."""
    leave_out = ["seed"] if "seeds" in frame else []
    names = settings.differing(frame, leave_out)
    measured = [name for name in run_columns(frame) if name not in NOT_IN_TABLE]
    names += tables.useful(frame, measured)
    headings = tables.headings(names)
    return [
        Column(name, heading, HELP.get(name, ""))
        for name, heading in zip(names, headings, strict=True)
    ]


def filters_of(frame: pd.DataFrame, columns: Sequence[Column]) -> list[tuple[str, str, list[str]]]:
    """Filters for the settings of the table: column, heading, values."""
    chosen = [column for column in columns if column.name not in RUN_COLUMNS]
    return [
        (
            column.name,
            column_format(column.name).title,
            [settings.in_words(value) for value in sorted(frame[column.name].dropna().unique())],
        )
        for column in chosen
    ]


def rows_of(
    frame: pd.DataFrame, columns: Sequence[Column], runs: pd.DataFrame, folder: Path
) -> list[Row]:
    """Every row with its cells and the runs behind it; `folder` is the output folder."""
    best = {column.name: tables.best_rows(frame, column.name) for column in columns}
    names = [name for name, _, _ in filters_of(frame, columns)]
    by_key = {str(row["run_key"]): row for _, row in runs.iterrows()}
    return [
        Row(
            cells=[cell_of(row, column, place in best[column.name]) for column in columns],
            filters={
                name: "" if pd.isna(row[name]) else settings.in_words(row[name]) for name in names
            },
            members=[member_of(by_key[key], folder) for key in keys_of(row)],
        )
        for place, (_, row) in enumerate(frame.iterrows())
    ]


def keys_of(row: pd.Series) -> list[str]:
    """The run keys behind a row."""
    return str(row.get("run_keys") or row["run_key"]).split()


def cell_of(row: pd.Series, column: Column, best: bool) -> Cell:
    """One cell of the table."""
    value = row[column.name]
    if tables.missing(value):
        return Cell(column.heading, "-")
    text, _, interval = tables.cell(row, column.name).partition(" (")
    sortable = value if isinstance(value, (int, float)) else str(value)
    if isinstance(value, str):
        return Cell(column.heading, tables.cell(row, column.name), "", sortable, best)
    return Cell(column.heading, text, interval.replace(")", ""), sortable, best)


def member_of(row: pd.Series, folder: Path) -> Member:
    """One run's details."""
    return Member(
        key=str(row["run_key"]),
        command=str(row["command"] or "not recorded"),
        facts=facts_of(row),
        config=pretty(folder, row["run_key"], "config"),
        provenance=pretty(folder, row["run_key"], "provenance"),
    )


def facts_of(row: pd.Series) -> list[tuple[str, str]]:
    """What identifies a run, in words."""
    sha = None if tables.missing(row["git_sha"]) else str(row["git_sha"])
    facts = {
        "run": row["run_key"],
        "seed": row["seed"],
        "started": row["started"],
        "git": f"{sha} with changes" if sha and row["git_dirty"] else sha,
        "processor": row["cpu"],
        "card": row["gpu"],
        "instruction set": row["instruction_set"],
        "kernel": row["backend"],
        "threads of the timings": row["threads"],
        "busy machine": "yes" if row["busy"] is True else None,
        "recall": row["recall_at_k"],
        "retained energy": row["retained_energy"],
        "density used": row["density_used"],
        "seconds, whole run": row["seconds"],
    }
    return [
        (name, f"{value:.4g}" if isinstance(value, float) else str(value))
        for name, value in facts.items()
        if not tables.missing(value)
    ]


def pretty(output_dir: Path, run_key: Any, name: str) -> str:
    """A JSON file of a run, indented; says so if it was not copied."""
    path = output_dir / "runs" / str(run_key) / f"{name}.json"
    if not path.exists():
        return f"{name}.json was not copied with this run"
    return json.dumps(load.read_json(path), indent=2)
