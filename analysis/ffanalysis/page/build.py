"""From frames to the page: headline, table, pictures, answers."""

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ffanalysis import seeds, settings, tables
from ffanalysis.formats import column_format
from ffanalysis.gallery import PICTURES, draw_all
from ffanalysis.page import svg
from ffanalysis.page.answers import side_by_side
from ffanalysis.page.rows import columns_of, filters_of, keys_of, rows_of
from ffanalysis.plots import common
from ffanalysis.report import without_dense_losses
from ffanalysis.source import Source

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Card:
    """The headline of one model, task and sparsity: the run of lowest KL that is faster than
    dense.
    """

    about: str
    method: str
    key: str
    speed: str
    speed_note: str
    kl_title: str
    kl: str
    loss: str
    compared: int


def build(source: Source) -> str:
    """The page's HTML. Raises LoadError if there are no runs."""
    runs = tables.ordered(without_dense_losses(source.runs())).reset_index(drop=True)
    frame = seeds.collapsed(runs)
    leave_out = ["seed"] if "seeds" in frame else []
    with tempfile.TemporaryDirectory() as folder:
        drawn, left_out = draw_all(source, Path(folder))
        pictures = [
            (name, (Path(folder) / f"{name}.svg").read_text(encoding="utf-8")) for name in drawn
        ]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    columns = columns_of(frame)
    return environment.get_template("report.html").render(
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup((TEMPLATES / "report.js").read_text(encoding="utf-8")),
        title=f"FFBench: {common.values(frame, 'model')}",
        cards=cards(frame),
        columns=columns,
        rows=rows_of(frame, columns, runs, source.output_dir),
        choices=filters_of(frame, columns),
        fixed=settings.fixed(frame, leave_out),
        conditions=conditions(frame),
        # our own drawings; the texts in them are paths
        pictures=[
            (name, PICTURES[name].caption, Markup(svg.inline(text, name)), svg.width(text))
            for name, text in pictures
        ],
        left_out=left_out,
        answers=side_by_side(source),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def faster(frame: pd.DataFrame) -> pd.DataFrame:
    """Sparse rows that are faster than dense, their bracket included; oracles are bounds."""
    slowest = frame["ttft_p20"].fillna(frame["ttft_speedup"])
    return frame[tables.taking_part(frame) & (frame["ttft_speedup"] > 1) & (slowest > 1)]


def cards(frame: pd.DataFrame) -> list[Card]:
    """For each model, task and sparsity the fast row of lowest KL; none without such a row."""
    loss = common.headline_loss(frame)
    rows = faster(frame).dropna(subset=[loss])
    names = common.method_names(rows) if len(rows) else rows["run_key"]
    made = []
    for _, group in rows.groupby(["model", "task", "sparsity"], dropna=False):
        row = group.loc[group[loss].idxmin()]
        bracket = ""
        if not tables.missing(row["ttft_p20"]):
            bracket = f" ({row['ttft_p20']:.2f} to {row['ttft_p80']:.2f})"
        busy = ", on a busy machine" if row["busy"] is True else ""
        made.append(
            Card(
                about=f"{row['model']}, {row['task']}, sparsity {row['sparsity']:g}",
                method=str(names[row.name]),
                key=keys_of(row)[0],
                speed=f"{row['ttft_speedup']:.2f}x",
                speed_note=f"TTFT at {row['ttft_tokens']:.0f} tokens{bracket}{busy}",
                kl_title=column_format(loss).title,
                kl=tables.cell(row, loss),
                loss=tables.cell(row, "loss_rel"),
                compared=len(group),
            )
        )
    return made


def conditions(frame: pd.DataFrame) -> str:
    """Where the numbers come from."""
    windows = common.windows_of(frame, common.headline_loss(frame))
    brackets = common.brackets(frame, "ttft_processes")
    return (
        f"{len(frame)} rows; {common.spread(frame, 'n')} records, {windows}; "
        f"speedups: {brackets}; {common.conditions(frame)}."
    )
