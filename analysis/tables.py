"""Tables from one frame of runs: Markdown, CSV, LaTeX, JSON."""

import math
from collections.abc import Callable

import pandas as pd

COLUMNS = ("model", "dtype", "selector", "compensator", "scheduler", "block_size", "sparsity", "density_used", "task",
           "score", "score_dense", "loss_abs", "loss_rel", "kl", "top1_agreement", "ppl_ratio", "recall_at_k",
           "retained_energy", "ffn_speedup", "ttft_speedup", "flops_ratio", "run_key")
INTERVALS = {"loss_abs": ("loss_abs_low", "loss_abs_high"), "kl": ("kl_low", "kl_high"),
             "ffn_speedup": ("ffn_p20", "ffn_p80"), "ttft_speedup": ("ttft_p20", "ttft_p80")}
HIGHER = ("score", "top1_agreement", "recall_at_k", "retained_energy", "ffn_speedup", "ttft_speedup")
LOWER = ("loss_abs", "loss_rel", "kl", "ppl_ratio", "flops_ratio")
DIGITS = {"score": 2, "score_dense": 2, "loss_abs": 2, "ffn_speedup": 2, "ttft_speedup": 2, "block_size": 0}
FORMATS = ("md", "csv", "json", "latex")


def missing(value: object) -> bool:
    """True for a figure that was not measured."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def cell(row: pd.Series, column: str) -> str:
    """A figure with its interval, or a dash."""
    value = row[column]
    if missing(value):
        return "-"
    if not isinstance(value, (int, float)):
        return str(value)
    if column in ("sparsity", "block_size"):
        return f"{value:g}"
    digits = DIGITS.get(column, 3)
    text = f"{value:.{digits}f}"
    low, high = (row.get(name) for name in INTERVALS.get(column, ("", "")))
    return text if missing(low) or missing(high) else f"{text} ({low:.{digits}f} to {high:.{digits}f})"


def heading(column: str) -> str:
    """Column name with an arrow that says which direction is better."""
    return f"{column} \u2191" if column in HIGHER else f"{column} \u2193" if column in LOWER else column


def best_rows(frame: pd.DataFrame, column: str) -> set[int]:
    """Positions of the best value among sparse runs of the same model, task and sparsity; ties count, unless all are equal."""
    if column not in HIGHER + LOWER:
        return set()
    sparse = frame[frame["sparsity"] > 0]
    found: set[int] = set()
    for _, group in sparse.groupby(["model", "task", "sparsity"], dropna=False):
        values = pd.to_numeric(group[column], errors="coerce").dropna()
        if values.nunique() > 1:
            best = values.max() if column in HIGHER else values.min()
            found |= {frame.index.get_loc(index) for index in values[values == best].index}
    return found


def texts(frame: pd.DataFrame, bold: Callable[[str], str], columns: tuple[str, ...] = COLUMNS) -> list[list[str]]:
    """Cells row by row, the best ones through `bold`."""
    best = {column: best_rows(frame, column) for column in columns}
    return [[bold(cell(row, column)) if position in best[column] else cell(row, column) for column in columns]
            for position, (_, row) in enumerate(frame.iterrows())]


def markdown(frame: pd.DataFrame, columns: tuple[str, ...] = COLUMNS) -> str:
    """A Markdown table with intervals; the best of each sparsity in bold."""
    lines = [[heading(column) for column in columns], ["---"] * len(columns),
             *texts(frame, lambda text: f"**{text}**", columns)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def latex(frame: pd.DataFrame, columns: tuple[str, ...] = COLUMNS) -> str:
    """A LaTeX tabular in the same form."""
    def clean(text: str) -> str:
        return text.replace("_", r"\_").replace("%", r"\%").replace("\u2191", r"$\uparrow$").replace(
            "\u2193", r"$\downarrow$")

    head = " & ".join(clean(heading(column)) for column in columns)
    rows = [" & ".join(cells) for cells in texts(
        frame.map(lambda v: clean(v) if isinstance(v, str) else v), lambda text: rf"\textbf{{{text}}}", columns)]
    return "\n".join([rf"\begin{{tabular}}{{{'l' * len(columns)}}}", rf"{head} \\ \hline",
                      *[rf"{row} \\" for row in rows], r"\end{tabular}"])


def report(frame: pd.DataFrame, style: str = "md") -> str:
    """One row a run as md, csv, json or latex. Raises ValueError for another format."""
    if style == "md":
        return markdown(frame)
    if style == "csv":
        return frame.to_csv(index=False).rstrip("\n")
    if style == "json":
        return frame.to_json(orient="records", indent=1)
    if style == "latex":
        return latex(frame)
    raise ValueError(f"format {style!r} is unknown; valid: {', '.join(FORMATS)}")
