"""The check that every data frame passes before it is returned (columns: `ffanalysis.columns`,
`ffanalysis.bench_columns`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ffanalysis.bench_columns import FRAMES

NUMBERS = (float, int, type(None))


class LoadError(ValueError):
    """A file cannot be read; the text names it."""


def checked(
    name: str, columns: Mapping[str, Sequence[Any]], rows: int, source: object = ""
) -> pd.DataFrame:
    """The frame `name` from columns of `rows` values: every known column in its order, then others.

    A column that is missing is filled with missing values. Numbers are float64.

    Raises:
        LoadError: a number column holds something else; the text names the column and the value.

    """
    known, where = FRAMES[name], f"{source}: " if str(source) else ""
    data: dict[str, Any] = {}
    for title, column in known.items():
        values = columns.get(title, [None] * rows)
        if column.kind == "number":
            data[title] = to_numbers(values, f"{where}{name}.{title}")
        else:
            data[title] = pd.Series(values, dtype=object)
    data |= {title: other(columns[title]) for title in columns if title not in known}
    return pd.DataFrame(data)


def other(values: Sequence[Any]) -> Any:
    """A column that no list names: numbers if it holds nothing else."""
    if any(type(value) in (int, float) for value in values) and all(
        type(value) in (int, float, type(None)) for value in values
    ):
        return np.array(values, dtype=np.float64)
    return pd.Series(values, dtype=object)


def to_numbers(values: Sequence[Any], where: str) -> np.ndarray:
    """Values as float64, None as NaN. Raises LoadError for others; `where` begins the text."""
    wrong = next((value for value in values if not isinstance(value, NUMBERS)), None)
    if wrong is not None:
        raise LoadError(f"{where}: expected a number, got {wrong!r}")
    return np.array(values, dtype=np.float64)


def from_rows(name: str, rows: Sequence[Mapping[str, Any]], source: object = "") -> pd.DataFrame:
    """The frame `name` from one mapping per row; see `checked`."""
    titles = list(dict.fromkeys(title for row in rows for title in row))
    return checked(
        name, {title: [row.get(title) for row in rows] for title in titles}, len(rows), source
    )
