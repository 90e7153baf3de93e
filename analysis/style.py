"""One look for every figure: colour-blind safe, told apart in grey by marker and line."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
CLAIM = "#777777"
SETTINGS: dict[str, Any] = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
            "grid.color": "#dddddd", "grid.linewidth": 0.6, "axes.axisbelow": True, "legend.frameon": False,
            "savefig.bbox": "tight", "svg.hashsalt": "ffbench"}


def look(index: int) -> dict[str, Any]:
    """Colour, marker and line of the series at `index`."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)],
            "linestyle": LINES[index % len(LINES)], "markersize": 6}


def save(figure: Figure, path: Path) -> None:
    """Write PNG and SVG beside each other and close the figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path.with_suffix(".png"), dpi=150)
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    plt.close(figure)


def use() -> None:
    """Draw without a screen, in this look."""
    mpl.use("Agg")
    plt.style.use(SETTINGS)
