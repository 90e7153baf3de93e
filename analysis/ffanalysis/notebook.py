"""What a notebook calls to show a figure or a table; importing this needs IPython."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from IPython.display import Image, Markdown, display

from ffanalysis import tables
from ffanalysis.figures import FIGURES, Source, draw
from ffanalysis.plots import NothingToDraw


def show(name: str, source: Source, folder: str | Path) -> None:
    """Draw a figure into `folder` and show it with its caption, or say what it lacks."""
    try:
        path = draw(name, source, Path(folder))
    except NothingToDraw as reason:
        display(Markdown(f"*{name}: not drawn: {reason}*"))
        return
    display(Markdown(FIGURES[name].caption))
    display(Image(str(path)))


def table(
    frame: pd.DataFrame, columns: Sequence[str], lacking: str = "nothing measured yet"
) -> None:
    """Show a table, or what is lacking where the frame is empty."""
    display(
        Markdown(tables.markdown(tables.ordered(frame), columns) if len(frame) else f"*{lacking}*")
    )
