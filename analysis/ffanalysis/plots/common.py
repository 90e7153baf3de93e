"""What the figures share: which rows they take, what a method is called, and where the numbers come
from.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

CLAIMED_SPEEDUP, CLAIMED_LOSS = 1.45, 0.06
CLAIM_TEXT = "Paper's claims (1.45x; under 6% LongBench loss at 50%, up to 8B) are claims, not measured here."
FIXED = {
    "block_size": "block",
    "blocks": "",
    "calibration_text": "fitted on text",
    "group_size": "groups of",
    "hot_fraction": "hot fraction",
    "rank": "rank",
    "dtype": "",
    "protocol": "protocol",
}


class NothingToDraw(ValueError):
    """The runs hold no figure of this kind; the text says which command would make one."""


def measured(frame: pd.DataFrame, columns: list[str], hint: str) -> pd.DataFrame:
    """Rows that have every one of `columns`. Raises NothingToDraw."""
    rows = frame.dropna(subset=columns)
    if rows.empty:
        raise NothingToDraw(hint)
    return rows


def same_settings(rows: pd.DataFrame, free: tuple[str, ...] = ()) -> tuple[pd.DataFrame, str]:
    """Rows with the most common value of each plan setting that is not `free`, and those settings
    in words.
    """
    words = []
    for column in FIXED:
        if column in free or column not in rows or rows[column].dropna().empty:
            continue
        value = rows[column].mode().iloc[0]
        left_out = rows[column].notna() & (rows[column] != value)
        rows = rows[~left_out]
        if (
            column not in ("blocks", "calibration_text", "group_size", "hot_fraction")
            or left_out.any()
        ):
            words.append(in_words(column, value))
    return rows, ", ".join(words)


def in_words(column: str, value: Any) -> str:
    """A plan setting with its name."""
    plain = {
        ("group_size", 1): "any rows",
        ("hot_fraction", 0): "no hot set",
        ("blocks", "consecutive"): "blocks of neighbours",
        ("blocks", "similar"): "similar tokens",
        ("calibration_text", "embedded"): "fitted on embedded text",
    }
    return plain.get((column, value), f"{FIXED[column]} {shown(value)}".strip())


def shown(value: Any) -> str:
    """A setting's value in words."""
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def method_names(
    rows: pd.DataFrame, columns: tuple[str, ...] = ("selector", "compensator", "scheduler")
) -> pd.Series:
    """A name for each row's method: selector + compensator, and every other setting that differs
    between the rows.
    """
    names = rows["selector"].astype(str) + " + " + rows["compensator"].astype(str)
    if "scheduler" in columns and rows["scheduler"].nunique() > 1:
        names += rows["scheduler"].map(
            lambda value: "" if value in ("uniform", "dense") else f", {value}"
        )
    for column in FIXED:
        if column in rows and rows[column].nunique() > 1:
            common = rows[column].mode().iloc[0]
            names += rows[column].map(
                lambda value, column=column, common=common: (
                    "" if pd.isna(value) or value == common else f", {in_words(column, value)}"
                )
            )
    if "per_token" in rows:
        names += rows["per_token"].map({True: " (per token)"}).fillna("")
    return names.replace("dense + dense", "dense")


def facets(rows: pd.DataFrame, columns: tuple[str, ...]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each combination of `columns` with a title for its panels."""
    for names, group in rows.groupby(list(columns), sort=False, dropna=False):
        yield ", ".join(str(name) for name in names if not pd.isna(name)), group


def errors(rows: pd.DataFrame, value: str, low: str, high: str, scale: float = 1.0) -> np.ndarray:
    """Lengths of error bars below and above [2, n]; 0 where there is no interval."""
    below, above = scale * (rows[value] - rows[low]), scale * (rows[high] - rows[value])
    return np.array([below.fillna(0).clip(lower=0), above.fillna(0).clip(lower=0)], dtype=float)


def values(rows: pd.DataFrame, column: str) -> str:
    """The values of a column in words, each once."""
    return (
        ", ".join(shown(value) for value in dict.fromkeys(rows[column].dropna()))
        if column in rows
        else ""
    )


def conditions(rows: pd.DataFrame) -> str:
    """Processor, threads and commits of the rows."""
    threads = values(rows, "threads")
    parts = [
        values(rows, "cpu"),
        f"{threads} thread{'' if threads == '1' else 's'}" if threads else "",
    ]
    shas = (
        list(dict.fromkeys(str(sha)[:10] for sha in rows["git_sha"].dropna()))
        if "git_sha" in rows
        else []
    )
    if shas:
        parts.append("git " + ", ".join(shas[:3]) + (" and others" if len(shas) > 3 else ""))
    return ", ".join(part for part in parts if part)


def spread(rows: pd.DataFrame, column: str) -> str:
    """Smallest and largest value in words."""
    low, high = rows[column].min(), rows[column].max()
    return "?" if pd.isna(low) else f"{low:g}" if low == high else f"{low:g} to {high:g}"
