"""What a notebook calls to show a picture or a table; importing this needs IPython."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from IPython.display import Image, Markdown, display

from ffanalysis import report, tables
from ffanalysis.gallery import PICTURES, draw
from ffanalysis.plots import NothingToDraw
from ffanalysis.source import Source


def show(name: str, source: Source, folder: str | Path) -> None:
    """Draw a picture into `folder` and show it with its caption, or say what it lacks."""
    try:
        path = draw(name, source, Path(folder))
    except NothingToDraw as reason:
        display(Markdown(f"*{name}: not drawn: {reason}*"))
        return
    display(Markdown(PICTURES[name].caption))
    display(Image(str(path)))


def show_report(source: Source, by: str = "run") -> None:
    """Show the table of `python -m ffbench report --by ...`."""
    display(Markdown(report.report(source, by=by)))


def table(
    frame: pd.DataFrame, columns: Sequence[str], lacking: str = "nothing measured yet"
) -> None:
    """Show columns of a frame as a table, or `lacking` if the frame is empty."""
    text = tables.markdown(tables.ordered(frame), columns) if len(frame) else f"*{lacking}*"
    display(Markdown(text))
