"""A frame as a table: Markdown or LaTeX; intervals, arrows for direction, the best in bold."""

import math
from collections.abc import Callable, Sequence

import pandas as pd

from ffanalysis import machines
from ffanalysis.formats import DOWN, SETTINGS, UP, ColumnFormat, column_format

BOUNDS = ("oracle",)
COMPARABLE = (
    *("model", "task", "protocol", "shape", "dtype", "sparsity", "tokens"),
    *("tail", "context", "group", "layer", "task.max_length"),
)
ORDER = ("model", "task", "sparsity", "selector", "compensator", "scheduler", "block_size", "seed")
TIMES = ("ffn_speedup", "ttft_speedup")


def missing(value: object) -> bool:
    """True for what was not measured."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def cell(row: pd.Series, column: str) -> str:
    """A value with its interval, or a dash."""
    value, how = row[column], column_format(column)
    if missing(value):
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if column in SETTINGS or "." in column:
        return f"{value:g}"
    low, high = (row.get(name) for name in (how.low, how.high))
    text = number(value, how)
    if not missing(low) and not missing(high):
        text += f" ({number(low, how)} to {number(high, how)})"
    return text + (" on a busy machine" if column in TIMES and row.get("busy") is True else "")


def number(value: float, how: ColumnFormat) -> str:
    """A number with its digits, scaled; no minus before a zero."""
    text = f"{how.scale * value:.{how.digits}f}"
    return text.lstrip("-") if not float(text) else text


def taking_part(frame: pd.DataFrame) -> pd.Series:
    """Which rows may be the best: sparse ones; oracles are bounds, and rules that choose per token
    do not run in blocks.
    """
    rows = frame["sparsity"] > 0
    if "selector" in frame:
        rows &= ~frame["selector"].astype(str).str.startswith(BOUNDS)
    if "per_token" in frame:
        rows &= frame["per_token"].map(lambda flag: flag is not True)
    return rows


def best_rows(frame: pd.DataFrame, column: str, within: Sequence[str] = COMPARABLE) -> set[int]:
    """Positions of the best value among the sparse rows that are equal in `within` and, for times,
    were measured on one known, quiet machine.

    Empty if the interval of the best holds the value of no effect or cannot be told from another
    row's, and for measured columns without intervals: noise is not a win.
    """
    how = column_format(column)
    if not how.better or "sparsity" not in frame:
        return set()
    groups = [*within, *(["block_size"] if "shape" in frame else [])]
    positions = pd.Series(range(len(frame)), index=frame.index)
    best: set[int] = set()
    rows = frame[taking_part(frame)]
    if how.timed:
        groups += machines.COLUMNS
        rows = rows[machines.trusted_times(rows)]
    for _, group in rows.groupby([name for name in groups if name in frame], dropna=False):
        values = pd.to_numeric(group[column], errors="coerce").dropna()
        values = values.round(how.digits) if how.exact else values
        if values.nunique() < 2:
            continue
        winners = values.index[values == (values.max() if how.better > 0 else values.min())]
        if how.exact or (
            len(winners) == 1 and stands_out(group.loc[values.index], winners[0], how)
        ):
            best |= set(positions[winners])
    return best


def stands_out(group: pd.DataFrame, winner: object, how: ColumnFormat) -> bool:
    """True if the interval of a row holds neither the value of no effect nor overlaps another's.

    `group` holds measured rows only; one without an interval cannot be told from any other.
    """
    if how.low not in group or how.high not in group:
        return False
    ends = group[[how.low, how.high]].apply(pd.to_numeric, errors="coerce")
    if ends.isna().any(axis=None):
        return False
    lows, highs = ends[how.low], ends[how.high]
    low, high = lows[winner], highs[winner]
    if how.neutral is not None and low <= how.neutral <= high:
        return False
    others = group.index != winner
    return not bool(((lows <= high) & (highs >= low))[others].any())


def useful(frame: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """The columns that the frame has and that are not empty in every row."""
    return [
        column
        for column in columns
        if column in frame and (frame.empty or not frame[column].map(missing).all())
    ]


def rendered(
    frame: pd.DataFrame,
    columns: Sequence[str],
    bold: Callable[[str], str],
    clean: Callable[[str], str] = str,
    within: Sequence[str] = COMPARABLE,
) -> list[list[str]]:
    """Cells row by row through `clean`, the best ones of `within` through `bold`."""
    frame = frame.reset_index(drop=True)
    best = {column: best_rows(frame, column, within) for column in columns}
    return [
        [
            bold(clean(cell(row, column))) if place in best[column] else clean(cell(row, column))
            for column in columns
        ]
        for place, (_, row) in enumerate(frame.iterrows())
    ]


def grid(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[bool] = (),
    padded: bool = False,
) -> str:
    """A Markdown table of texts; `right` says which columns are set to the right.

    Padded tables read well on a terminal, others give small differences in version control.
    """
    right = right or [False] * len(head)
    cells = [[str(text) for text in line] for line in (head, *rows)]
    widths = [
        max(4, *(len(line[place]) for line in cells)) if padded else 0 for place in range(len(head))
    ]
    rule = [
        ("-" * max(3, width - 1) + ":" if to_right else "-" * max(3, width))
        for width, to_right in zip(widths, right, strict=True)
    ]
    lines = [
        [
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ]
        for line in cells
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:]))


def markdown(
    frame: pd.DataFrame,
    columns: Sequence[str],
    padded: bool = False,
    within: Sequence[str] = COMPARABLE,
) -> str:
    """A frame as a Markdown table; the best of the rows that are equal in `within` in bold."""
    columns = useful(frame, columns)
    rows = rendered(
        frame, columns, lambda text: f"**{text}**", lambda text: text.replace("|", r"\|"), within
    )
    right = [pd.api.types.is_numeric_dtype(frame[column]) for column in columns]
    return grid(headings(columns), rows, right, padded)


def headings(columns: Sequence[str]) -> list[str]:
    """Headings of columns. A parameter's owner is named only if two would be equal."""
    full = [column_format(column).heading for column in columns]
    short = [
        text.split(".", 1)[-1] if "." in column else text
        for text, column in zip(full, columns, strict=True)
    ]
    return [
        text if short.count(text) == 1 else whole for text, whole in zip(short, full, strict=True)
    ]


LATEX = {
    "\\": r"\textbackslash{}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    UP: r"$\uparrow$",
    DOWN: r"$\downarrow$",
}


def escaped(text: str) -> str:
    """Text for LaTeX."""
    return "".join(LATEX.get(character, character) for character in text)


def latex(frame: pd.DataFrame, columns: Sequence[str]) -> str:
    """A frame as a LaTeX tabular with the rules of booktabs."""
    columns = useful(frame, columns)
    head = " & ".join(escaped(text) for text in headings(columns))
    rows = rendered(frame, columns, lambda text: rf"\textbf{{{text}}}", escaped)
    kinds = "".join(
        "r" if pd.api.types.is_numeric_dtype(frame[column]) else "l" for column in columns
    )
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{kinds}}}",
            r"\toprule",
            rf"{head} \\",
            r"\midrule",
            *[rf"{' & '.join(cells)} \\" for cells in rows],
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by model, task, sparsity and method."""
    names = [name for name in ORDER if name in frame]
    return frame.sort_values(names, kind="stable", na_position="first") if names else frame
