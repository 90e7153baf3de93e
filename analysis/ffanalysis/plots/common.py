"""What the pictures share: which rows they take, what a series is called, and where the numbers
come from.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ffanalysis import settings
from ffanalysis.formats import column_format
from ffbench.runs.schema import METHOD_KINDS

RELATIVE_LOSS = "relative task loss, %"
SWEEP = "python -m ffbench +sweep=sparsity"
# settings by which rows are never mixed in one line; the most common value is drawn
HELD_FIXED = (
    "block_size",
    "blocks",
    "calibration_text",
    "group_size",
    "hot_fraction",
    "dtype",
    "device",
    "protocol",
    "seed",
    "task.max_length",
    "task.seed",
)
PLAIN = {
    ("group_size", 1): "single neurons",
    ("hot_fraction", 0): "no hot set",
    ("blocks", "consecutive"): "consecutive blocks",
    ("blocks", "similar"): "blocks of similar tokens",
    ("calibration_text", "embedded"): "fitted on embedded text",
}
NAMES = {
    "block_size": "block",
    "group_size": "groups of",
    "hot_fraction": "hot fraction",
    "calibration_text": "fitted on text",
    "task.max_length": "max_length",
    "task.seed": "records of seed",
    "blocks": "",
    "dtype": "",
    "device": "",
}
# not part of a series' name: axes, panels, or said by the methods themselves
NOT_NAMED = ("model", "task", "sparsity", "seed", "protocol", *METHOD_KINDS)
# settings under these heads say how a plan is measured, not what it is
MEASURING = ("model", "task", "fidelity", "speed", "kernel")
LOSSES = ("kl_continuation", "kl_prompt")


class NothingToDraw(ValueError):
    """The runs lack what a picture needs; the text has a command that makes it."""


def measured(frame: pd.DataFrame, columns: list[str], hint: str) -> pd.DataFrame:
    """Rows that have every one of `columns`. Raises NothingToDraw."""
    rows = frame.dropna(subset=columns)
    if rows.empty:
        raise NothingToDraw(hint)
    return rows


def several(count: int, what: str, hint: str) -> None:
    """Raise NothingToDraw if there are fewer than two points: a table shows one number better."""
    if count < 2:
        raise NothingToDraw(f"only one {what}: {hint}")


def headline_loss(rows: pd.DataFrame) -> str:
    """The column of KL that the rows are drawn by: answer KL, or the prompt's in older results."""
    return next((name for name in LOSSES if rows[name].notna().any()), LOSSES[0])


def axis_title(loss: str) -> str:
    """The name of a KL on an axis."""
    return f"{column_format(loss).title} to dense, nats per token"


def windows_of(rows: pd.DataFrame, loss: str) -> str:
    """How many windows a KL was measured on, and of which part of the text where that is known."""
    names = {"heldout": "held-out", "test": "test"}
    known = rows["text_part"].dropna() if "text_part" in rows else []
    parts = " and ".join(names.get(part, part) for part in dict.fromkeys(known))
    count = spread(rows, loss.replace("kl_", "windows_"))
    return f"{count} {parts} windows" if parts else f"{count} windows"


def same_settings(rows: pd.DataFrame, free: Sequence[str] = ()) -> tuple[pd.DataFrame, str]:
    """Rows with the most common value of each setting in HELD_FIXED that is not `free`, and those
    settings in words, as the kept rows have them.
    """
    for column in HELD_FIXED:
        if column not in free and column in rows and rows[column].notna().any():
            rows = rows[rows[column].isna() | (rows[column] == rows[column].mode().iloc[0])]
    return rows, caption(rows, free)


def caption(rows: pd.DataFrame, leave_out: Sequence[str] = ()) -> str:
    """The settings that all rows share, in words."""
    words = []
    for column in HELD_FIXED:
        if column in leave_out or column not in rows:
            continue
        values = settings.sparse(rows)[column].dropna().unique()
        if len(values) == 1:
            words.append(in_words(column, values[0]))
    return ", ".join(words)


def in_words(column: str, value: Any) -> str:
    """A setting with its name."""
    text = f"{NAMES.get(column, settings.title(column))} {settings.in_words(value)}".strip()
    return PLAIN.get((column, value), text)


def method_name(row: pd.Series, kind: str, parameters: Sequence[str]) -> str:
    """A method with those of its parameters that differ between the rows; 0 (off) is not named."""
    words = [
        f"{name.split('.', 1)[1]} {settings.in_words(row[name])}"
        for name in parameters
        if name.startswith(f"{kind}.") and not pd.isna(row[name]) and row[name] != 0
    ]
    return str(row[kind]) + (f" ({', '.join(words)})" if words else "")


def method_names(rows: pd.DataFrame, leave_out: Sequence[str] = ()) -> pd.Series:
    """A name for each row's method: selector + compensator, and every other setting that differs
    between the rows.
    """
    different = [
        name
        for name in settings.differing(rows, (*NOT_NAMED, *leave_out))
        if "." not in name or name.split(".")[0] not in MEASURING
    ]
    schedulers = settings.sparse(rows)["scheduler"].nunique() > 1 if "scheduler" in rows else False
    usual = {
        name: rows[name].mode().iloc[0]
        for name in different
        if name.split(".")[0] not in METHOD_KINDS
    }

    def name_of(row: pd.Series) -> str:
        if row["selector"] == "dense":
            return "dense"
        selector, compensator = (
            method_name(row, kind, different) for kind in ("selector", "compensator")
        )
        per_token = " (per token)" if row.get("per_token") is True else ""
        parts = [f"{selector}{per_token} + {compensator}"]
        parts += [method_name(row, "scheduler", different)] if schedulers else []
        parts += [
            in_words(name, row[name])
            for name, common in usual.items()
            if not pd.isna(row[name]) and row[name] != common
        ]
        parts += [str(row["origin"])] if row.get("origin") else []
        return ", ".join(parts)

    return pd.Series([name_of(row) for _, row in rows.iterrows()], index=rows.index, dtype=object)


def facets(rows: pd.DataFrame, columns: tuple[str, ...]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each combination of `columns` with a title for its panels."""
    for names, group in rows.groupby(list(columns), sort=False, dropna=False):
        yield ", ".join(str(name) for name in names if not pd.isna(name)), group


def errors(rows: pd.DataFrame, value: str, low: str, high: str, scale: float = 1.0) -> np.ndarray:
    """Lengths of error bars below and above [2, n]; 0 without an interval."""
    below, above = scale * (rows[value] - rows[low]), scale * (rows[high] - rows[value])
    return np.array([below.fillna(0).clip(lower=0), above.fillna(0).clip(lower=0)], dtype=float)


def values(rows: pd.DataFrame, column: str) -> str:
    """The values of a column in words, each once."""
    if column not in rows:
        return ""
    return ", ".join(settings.in_words(value) for value in dict.fromkeys(rows[column].dropna()))


def conditions(rows: pd.DataFrame) -> str:
    """Card, processor, instruction set, threads and commits of the rows."""
    threads = values(rows, "threads")
    parts = [
        values(rows, "gpu"),
        values(rows, "cpu"),
        values(rows, "instruction_set"),
        f"{threads} thread{'' if threads == '1' else 's'}" if threads else "",
    ]
    if "git_sha" in rows:
        shas = list(dict.fromkeys(str(sha)[:10] for sha in rows["git_sha"].dropna()))
        more = " and others" if len(shas) > 3 else ""
        parts += ["git " + ", ".join(shas[:3]) + more] if shas else []
    return ", ".join(part for part in parts if part)


def brackets(rows: pd.DataFrame, processes: str = "processes") -> str:
    """What the brackets of the rows' speedups are."""
    counts = rows[processes].dropna() if processes in rows else pd.Series(dtype=float)
    if len(counts) and counts.min() > 1:
        return f"lowest to highest of {spread(rows, processes)} fresh processes"
    return "p20 to p80 of paired rounds in one process"


def spread(rows: pd.DataFrame, column: str) -> str:
    """Smallest and largest value in words."""
    if column not in rows or rows[column].isna().all():
        return "?"
    low, high = rows[column].min(), rows[column].max()
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
