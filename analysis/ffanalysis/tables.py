"""Tables from one frame: Markdown, CSV, LaTeX, JSON; intervals, arrows for direction, the best in
bold.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

FORMATS = ("md", "csv", "json", "latex")
BOUNDS = ("oracle",)
LIKE = ("model", "task", "shape", "dtype", "sparsity", "block", "tokens")
UP, DOWN = "\u2191", "\u2193"


@dataclass(frozen=True)
class Shown:
    """How a figure is shown: `better` is 1 where higher is better, -1 where lower is, 0 where
    neither.
    """

    title: str
    digits: int = 3
    better: int = 0
    low: str = ""
    high: str = ""
    scale: float = 1.0

    @property
    def heading(self) -> str:
        """Title with the arrow of its direction."""
        return self.title + {1: f" {UP}", -1: f" {DOWN}", 0: ""}[self.better]


SHOWN = {
    "block_size": Shown("block", 0),
    "hot_fraction": Shown("hot"),
    "group_size": Shown("group", 0),
    "rank": Shown("rank", 0),
    "n": Shown("n", 0),
    "windows": Shown("windows", 0),
    "chance": Shown("chance", 1),
    "truncated": Shown("truncated", 0),
    "score": Shown("score", 2, 1),
    "score_dense": Shown("dense score", 2),
    "loss_abs": Shown("loss, points", 2, -1, "loss_abs_low", "loss_abs_high"),
    "loss_rel": Shown("rel. loss, %", 1, -1, "loss_rel_low", "loss_rel_high", 100),
    "nll": Shown("NLL", 3, -1),
    "nll_dense": Shown("dense NLL"),
    "nll_gain_rel": Shown("NLL increase, %", 1, -1, "nll_gain_rel_low", "nll_gain_rel_high", 100),
    "kl": Shown("KL", 3, -1, "kl_low", "kl_high"),
    "kl_prose": Shown("KL prose", 3, -1),
    "kl_code": Shown("KL code", 3, -1),
    "top1_agreement": Shown("top-1, %", 1, 1, scale=100),
    "ppl_ratio": Shown("ppl ratio", 3, -1),
    "recall_at_k": Shown("recall", 3, 1),
    "retained_energy": Shown("energy", 3, 1),
    "density_used": Shown("density used"),
    "ffn_speedup": Shown("FFN speedup", 2, 1, "ffn_p20", "ffn_p80"),
    "ttft_speedup": Shown("TTFT speedup", 2, 1, "ttft_p20", "ttft_p80"),
    "flops_ratio": Shown("FFN FLOPs", 3, -1),
    "ratio": Shown("TTFT speedup", 2, 1, "p20", "p80"),
    "ffn_ratio": Shown("FFN speedup", 2, 1),
    "run_key": Shown("run"),
    "git_sha": Shown("git"),
    "tokens": Shown("tokens", 0),
    "threads": Shown("threads", 0),
    "block": Shown("block", 0),
    "ratio_eager": Shown("vs torch eager", 2, 1, "p20", "p80"),
    "ratio_compiled": Shown("vs torch.compile", 2, 1),
    "ratio_self": Shown("vs itself dense", 2, 1),
    "ideal": Shown("ideal", 2),
    "gflops": Shown("GFLOP/s", 0),
    "peak_gflops": Shown("peak", 0),
    "group": Shown("group", 0),
}
COLUMNS = (
    "model",
    "selector",
    "compensator",
    "scheduler",
    "block_size",
    "sparsity",
    "task",
    "n",
    "score",
    "loss_abs",
    "loss_rel",
    "kl",
    "top1_agreement",
    "ppl_ratio",
    "ffn_speedup",
    "ttft_speedup",
    "flops_ratio",
    "run_key",
)
TASK_COLUMNS = (
    "model",
    "selector",
    "compensator",
    "sparsity",
    "category",
    "task",
    "n",
    "score_dense",
    "score",
    "loss_abs",
    "loss_rel",
    "nll_dense",
    "nll_gain_rel",
    "chance",
    "truncated",
)
ORDER = ["model", "task", "sparsity", "selector", "compensator", "scheduler", "block_size"]


def missing(value: object) -> bool:
    """True for a figure that was not measured."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def shown(column: str) -> Shown:
    """How a column is shown; its own name where nothing else is said."""
    return SHOWN.get(column, Shown(column))


def cell(row: pd.Series, column: str) -> str:
    """A figure with its interval, or a dash."""
    value, how = row[column], shown(column)
    if missing(value):
        return "-"
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return str(value)
    if how.title in ("sparsity", "hot"):
        return f"{value:g}"
    low, high = (row.get(name) for name in (how.low, how.high))
    text = number(value, how)
    return (
        text
        if missing(low) or missing(high)
        else f"{text} ({number(low, how)} to {number(high, how)})"
    )


def number(value: float, how: Shown) -> str:
    """A number with its digits, scaled; no minus before a zero."""
    text = f"{how.scale * value:.{how.digits}f}"
    return text.lstrip("-") if not float(text) else text


def best_rows(frame: pd.DataFrame, column: str, within: Sequence[str]) -> set[int]:
    """Positions of the best value among the sparse rows alike in `within`; ties count, unless all
    are equal.

    Oracles are bounds, rules that choose for each token by itself cannot be run by blocks: they
    take no part.
    """
    better = shown(column).better
    if not better or "sparsity" not in frame:
        return set()
    taking_part = frame["sparsity"] > 0
    if "selector" in frame:
        taking_part &= ~frame["selector"].astype(str).str.startswith(BOUNDS)
    if "per_token" in frame:
        taking_part &= frame["per_token"].map(lambda one: one is not True)
    found: set[int] = set()
    positions = pd.Series(range(len(frame)), index=frame.index)
    for _, group in frame[taking_part].groupby(
        [name for name in within if name in frame], dropna=False
    ):
        values = pd.to_numeric(group[column], errors="coerce").dropna()
        if values.nunique() > 1:
            best = values.max() if better > 0 else values.min()
            found |= set(positions[values.index[values == best]])
    return found


def rendered(
    frame: pd.DataFrame,
    columns: Sequence[str],
    bold: Callable[[str], str],
    clean: Callable[[str], str] = str,
) -> list[list[str]]:
    """Cells row by row through `clean`, the best ones through `bold`."""
    frame = frame.reset_index(drop=True)
    best = {column: best_rows(frame, column, LIKE) for column in columns}
    return [
        [
            bold(clean(cell(row, column))) if position in best[column] else clean(cell(row, column))
            for column in columns
        ]
        for position, row in frame.iterrows()
    ]


def markdown(frame: pd.DataFrame, columns: Sequence[str] = COLUMNS) -> str:
    """A Markdown table with intervals; the best of each model, task and sparsity in bold."""
    columns = useful(frame, columns)
    lines = [
        [shown(column).heading for column in columns],
        ["---:" if pd.api.types.is_numeric_dtype(frame[column]) else "---" for column in columns],
        *rendered(
            frame, columns, lambda text: f"**{text}**", lambda text: text.replace("|", r"\|")
        ),
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def useful(frame: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """The columns that say something: not empty in every row."""
    return [column for column in columns if frame.empty or not frame[column].map(missing).all()]


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


def latex(frame: pd.DataFrame, columns: Sequence[str] = COLUMNS) -> str:
    """A LaTeX tabular in the same form."""

    def clean(text: str) -> str:
        return "".join(LATEX.get(character, character) for character in text)

    columns = useful(frame, columns)
    head = " & ".join(clean(shown(column).heading) for column in columns)
    rows = rendered(frame, columns, lambda text: rf"\textbf{{{text}}}", clean)
    kinds = "".join(
        "r" if pd.api.types.is_numeric_dtype(frame[column]) else "l" for column in columns
    )
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{kinds}}}",
            rf"{head} \\ \hline",
            *[rf"{' & '.join(cells)} \\" for cells in rows],
            r"\end{tabular}",
        ]
    )


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by model, task, sparsity and method."""
    return frame.sort_values(
        [name for name in ORDER if name in frame], kind="stable", na_position="first"
    )


def report(frame: pd.DataFrame, style: str = "md", columns: Sequence[str] = COLUMNS) -> str:
    """One row a run as md, csv, json or latex; csv and json hold every column. Raises ValueError
    for another format.
    """
    frame = ordered(frame)
    if "per_token" in frame and style in ("md", "latex"):
        frame = frame.assign(
            selector=frame["selector"] + frame["per_token"].map({True: " (per token)"}).fillna("")
        )
    if style == "md":
        return markdown(frame, columns)
    if style == "csv":
        return frame.to_csv(index=False).rstrip("\n")
    if style == "json":
        return str(frame.to_json(orient="records", indent=1))
    if style == "latex":
        return latex(frame, columns)
    raise ValueError(f"format {style!r} is unknown; valid: {', '.join(FORMATS)}")


def all_tables(runs: pd.DataFrame, tasks: pd.DataFrame) -> dict[str, str]:
    """File name -> text of every table, of runs and of their tasks."""
    endings = {"md": "md", "csv": "csv", "json": "json", "latex": "tex"}
    return {
        f"{name}.{ending}": report(frame, style, columns)
        for name, frame, columns in (("runs", runs, COLUMNS), ("tasks", tasks, TASK_COLUMNS))
        for style, ending in endings.items()
    }
