"""From frames to the page: headline, rows, figures, details."""

import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ffanalysis import load, tables
from ffanalysis.figures import FIGURES, Source, draw_all
from ffanalysis.page import svg
from ffanalysis.plots import common

TEMPLATES = Path(__file__).parent / "templates"
NAMES = ("model", "task")
FIGURE_COLUMNS = (
    "score",
    "loss_abs",
    "loss_rel",
    "nll_gain_rel",
    "kl",
    "top1_agreement",
    "ppl_ratio",
    "ffn_speedup",
    "ttft_speedup",
    "flops_ratio",
)
FILTERS = ("model", "task", "selector", "compensator", "scheduler", "sparsity", "block_size")
HELP = {
    "score": "points, mean over the headline tasks",
    "loss_abs": "dense minus sparse on the same records, points",
    "loss_rel": "loss over the dense score",
    "nll_gain_rel": "gold answer's negative log-likelihood, sparse over dense, less 1",
    "kl": "to dense on held-out text, nats per token",
    "top1_agreement": "tokens whose first choice is the dense one",
    "ppl_ratio": "sparse perplexity over dense",
    "ffn_speedup": "dense over sparse FFN time, selector and compensator included",
    "ttft_speedup": "dense over sparse time to first token",
    "flops_ratio": "FFN FLOPs of sparse blocks over dense, all included",
}


@dataclass(frozen=True)
class Cell:
    """One cell: what is shown, its interval, the value it sorts by, and whether it is the best of
    its like.
    """

    label: str
    text: str
    interval: str = ""
    value: float | str = ""
    best: bool = False


@dataclass(frozen=True)
class Run:
    """One row of the page, with what its details show."""

    key: str
    cells: list[Cell]
    filters: dict[str, str]
    command: str
    facts: list[tuple[str, str]]
    config: str
    provenance: str


def build(source: Source) -> str:
    """The page's HTML. Raises LoadError where there are no runs."""
    frame = tables.ordered(source.runs()).reset_index(drop=True)
    frame = frame.assign(method=common.method_names(frame))
    frame.loc[
        frame["sparsity"] == 0, [name for name in frame if "loss" in name or "gain" in name]
    ] = None  # dense beside itself
    with tempfile.TemporaryDirectory() as folder:
        drawn, left_out = draw_all(source, Path(folder))
        pictures = [(name, (Path(folder) / f"{name}.svg").read_text()) for name in drawn]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    columns = columns_of(frame)
    return environment.get_template("report.html").render(
        style=Markup((TEMPLATES / "report.css").read_text()),
        script=Markup((TEMPLATES / "report.js").read_text()),
        title=f"FFBench: {common.values(frame, 'model')}",
        headlines=headlines(frame),
        columns=columns,
        runs=runs_of(frame, columns, source.output_dir),
        choices=choices(frame),
        conditions=conditions(frame),
        # our own drawings; the texts in them are paths
        figures=[
            (name, FIGURES[name].caption, Markup(svg.inline(text, name)), svg.width(text))
            for name, text in pictures
        ],
        left_out=left_out,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def columns_of(frame: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Name, heading and help of every column that says something; model and task only where there
    are several.
    """
    several = [name for name in NAMES if frame[name].nunique() > 1]
    figures = tables.useful(frame, FIGURE_COLUMNS)
    names = [*several, "method", "sparsity", "n", *figures]
    return [(name, tables.shown(name).heading, HELP.get(name, "")) for name in names]


def headlines(frame: pd.DataFrame) -> list[dict[str, str]]:
    """For each model, task and sparsity the run of lowest KL that could be deployed and was timed,
    in words.
    """
    rows = frame[
        (frame["sparsity"] > 0) & ~frame["selector"].astype(str).str.startswith(tables.BOUNDS)
    ]
    rows = rows.dropna(subset=["kl", "ttft_speedup"])
    found = []
    for _, group in rows.groupby(["model", "task", "sparsity"], dropna=False):
        row = group.loc[group["kl"].idxmin()]
        found.append(
            {
                "about": f"{row['model']}, {row['task']}, sparsity {row['sparsity']:g}",
                "method": str(row["method"]),
                "speed": f"{row['ttft_speedup']:.2f}x",
                "key": str(row["run_key"]),
                "speed_note": f"TTFT at {row['ttft_tokens']:.0f} tokens ({row['ttft_p20']:.2f} to {row['ttft_p80']:.2f})",
                "kl": tables.cell(row, "kl"),
                "loss": tables.cell(row, "loss_rel"),
                "of": str(len(group)),
            }
        )
    return found


def conditions(frame: pd.DataFrame) -> str:
    """Where the numbers come from."""
    return (
        f"{len(frame)} runs; {common.spread(frame, 'n')} records, {common.spread(frame, 'windows')} held-out windows; "
        f"{common.conditions(frame)}."
    )


def choices(frame: pd.DataFrame) -> list[tuple[str, str, list[str]]]:
    """Filters: column, heading, values; those with one value are left out."""
    found = [
        (
            name,
            tables.shown(name).title,
            [common.shown(value) for value in sorted(frame[name].dropna().unique())],
        )
        for name in FILTERS
    ]
    return [one for one in found if len(one[2]) > 1]


def runs_of(
    frame: pd.DataFrame, columns: list[tuple[str, str, str]], output_dir: Path
) -> list[Run]:
    """Every row with its cells and details."""
    best = {
        name: tables.best_rows(frame, name, ("model", "task", "sparsity")) for name, _, _ in columns
    }
    return [
        Run(
            key=str(row["run_key"]),
            command=str(row["command"] or "not recorded"),
            facts=facts(row),
            cells=[
                cell_of(row, name, heading, position in best[name]) for name, heading, _ in columns
            ],
            filters={
                name: "" if pd.isna(row[name]) else common.shown(row[name]) for name in FILTERS
            },
            config=pretty(output_dir, row["run_key"], "config"),
            provenance=pretty(output_dir, row["run_key"], "provenance"),
        )
        for position, (_, row) in enumerate(frame.iterrows())
    ]


def cell_of(row: pd.Series, name: str, heading: str, best: bool) -> Cell:
    """One cell of the table."""
    value = row[name]
    if tables.missing(value):
        return Cell(heading, "-")
    text, _, interval = (
        tables.cell(row, name).partition(" (") if isinstance(value, float) else (str(value), "", "")
    )
    return Cell(heading, text, interval.rstrip(")"), value, best)


def facts(row: pd.Series) -> list[tuple[str, str]]:
    """What identifies a run, in words."""
    sha = (
        "-"
        if tables.missing(row["git_sha"])
        else str(row["git_sha"]) + (" with changes" if row["git_dirty"] else "")
    )
    shown = {
        "run": row["run_key"],
        "started": row["started"],
        "git": sha,
        "processor": row["cpu"],
        "threads of the timings": row["threads"],
        "recall": row["recall_at_k"],
        "retained energy": row["retained_energy"],
        "density used": row["density_used"],
        "seconds, whole run": row["seconds"],
    }
    return [
        (name, f"{value:.4g}" if isinstance(value, float) else str(value))
        for name, value in shown.items()
        if not tables.missing(value)
    ]


def pretty(output_dir: Path, run_key: Any, name: str) -> str:
    """A JSON file of a run, indented; says so where it was not copied."""
    path = output_dir / "runs" / str(run_key) / f"{name}.json"
    return (
        json.dumps(load.read(path), indent=2)
        if path.exists()
        else f"{name}.json was not copied with this run"
    )
