"""One style for every picture: colour-blind safe (Okabe and Ito); series differ in grey too, by
marker and line.
"""

import textwrap
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#7F6000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES: tuple[Any, ...] = (
    "-",
    "--",
    "-.",
    ":",
    (0, (5, 1)),
    (0, (3, 1, 1, 1)),
    (0, (1, 1)),
    (0, (7, 2)),
)
CLAIM, FAINT = "#666666", "#9a9a9a"
WIDTH, NOTE_CHARACTERS = 9.0, 140
SETTINGS: dict[str, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "savefig.bbox": "tight",
    "svg.hashsalt": "ffbench",
    "axes.titlesize": 10,
    "lines.linewidth": 1.6,
    "figure.constrained_layout.use": True,
}


def series_style(index: int) -> dict[str, Any]:
    """Colour, marker and line of a series; after 8 the markers shift, so that 64 differ."""
    return {
        "color": COLOURS[index % 8],
        "marker": MARKERS[(index + index // 8) % 8],
        "linestyle": LINES[(index + index // 8) % 8],
        "markersize": 6,
    }


def styles(names: Iterable[Hashable]) -> dict[Hashable, dict[str, Any]]:
    """A style for each name, in their order."""
    return {name: series_style(index) for index, name in enumerate(dict.fromkeys(names))}


def panels(
    rows: int = 1, columns: int = 1, height: float = 3.6, width: float = WIDTH, **options: Any
) -> tuple[Figure, Any]:
    """A figure and its axes as a two-dimensional array; draws without a screen."""
    mpl.use("Agg")
    plt.style.use(SETTINGS)
    return plt.subplots(rows, columns, figsize=(width, height * rows), squeeze=False, **options)


def legend(figure: Figure, entries: dict[str, Any]) -> float:
    """Put one legend under all panels, in as many columns as fit; return its lower end in figure
    heights.
    """
    if not entries:
        return 0.0
    columns = max(
        1, min(len(entries), int(figure.get_figwidth() * 10.5 / (max(map(len, entries)) + 6)))
    )
    box = figure.legend(
        list(entries.values()),
        list(entries),
        loc="upper left",
        bbox_to_anchor=(0, 0),
        ncols=columns,
    )
    figure.canvas.draw()
    return float(box.get_window_extent().y0 / figure.bbox.height)


def sentence(note: str) -> str:
    """A note with a capital at its beginning, unless it begins with a name (s=0.5, qwen3_06b)."""
    first = note.partition(" ")[0].rstrip(",.")
    return note[:1].upper() + note[1:] if first.isalpha() else note


def save(
    figure: Figure, path: Path, title: str, note: str, entries: dict[str, Any] | None = None
) -> None:
    """Add the title above, the legend and the note below; write PNG and SVG; close the figure.

    The ids in the SVG depend on the picture's name and content only.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.suptitle(title, x=0.005, ha="left", fontsize=11.5, fontweight="bold")
    bottom = legend(figure, entries or {})
    lines = textwrap.fill(sentence(note), int(NOTE_CHARACTERS * figure.get_figwidth() / WIDTH))
    figure.text(
        0.005,
        bottom - 0.06 / figure.get_figheight(),
        lines,
        va="top",
        ha="left",
        fontsize=8,
        color="#333333",
    )
    figure.savefig(path.with_suffix(".png"), dpi=150)
    with mpl.rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    plt.close(figure)


def label(
    axes: Axes,
    text: str,
    place: tuple[float, float],
    frame: Any,
    offset: tuple[float, float],
    **how: Any,
) -> None:
    """A small text on a white ground, so that lines behind it do not cross it out.

    It is drawn below the points: a label never covers a measurement.
    """
    axes.annotate(
        text,
        place,
        xycoords=frame,
        xytext=offset,
        textcoords="offset points",
        fontsize=8,
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8},
        zorder=1.5,
        **how,
    )
