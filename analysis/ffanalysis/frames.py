"""The check that every data frame passes before it is handed out; its columns stand in
`ffanalysis.schema`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ffanalysis.schema import FRAMES

NUMBERS = (float, int, type(None))


class LoadError(ValueError):
    """What was found cannot be read; the text names the file."""


def checked(
    name: str, columns: Mapping[str, Sequence[Any]], rows: int, source: object = ""
) -> pd.DataFrame:
    """The frame `name` from columns of `rows` values: every column of the schema, in its order,
    then any others.

    A column that is not there is filled with missing values. Numbers are float64.

    Raises:
        LoadError: a text stands where a number is due; names the column and the value.

    """
    known, where = FRAMES[name], f"{source}: " if str(source) else ""
    data: dict[str, Any] = {}
    for title, column in known.items():
        values = columns.get(title, [None] * rows)
        if column.kind == "number":
            data[title] = to_numbers(values, f"{where}{name}.{title}")
        else:
            data[title] = pd.Series(values, dtype=object)
    others = columns.keys() - known.keys()
    data |= {
        title: pd.Series(values, dtype=object)
        for title, values in columns.items()
        if title in others
    }
    return pd.DataFrame(data)


def to_numbers(values: Sequence[Any], where: str) -> np.ndarray:
    """Values as float64, None as NaN. Raises LoadError for anything else, naming `where` and the
    value.
    """
    wrong = next((value for value in values if not isinstance(value, NUMBERS)), None)
    if wrong is not None:
        raise LoadError(f"{where}: expected a number, found {wrong!r}")
    return np.array(values, dtype=np.float64)


def from_rows(name: str, rows: Sequence[Mapping[str, Any]], source: object = "") -> pd.DataFrame:
    """The frame `name` from one mapping a row; see `checked`."""
    titles = list(dict.fromkeys(title for row in rows for title in row))
    return checked(
        name, {title: [row.get(title) for row in rows] for title in titles}, len(rows), source
    )
