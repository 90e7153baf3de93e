"""Draw docs/architecture.svg: python docs/draw_architecture.py"""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

BOXES = {
    "cli": (0.3, 4.6, 2.2, "ffbench/cli\nwords to settings"),
    "stages": (3.3, 4.6, 2.5, "ffbench/stages\ncollect, fit, fidelity,\nevaluate, speed"),
    "models": (6.6, 4.6, 2.4, "ffbench/models\nloading, adapters,\nsparse_prefill"),
    "sparsity": (6.6, 2.7, 2.4, "ffbench/sparsity\nselectors, plan,\ncompensators, schedulers"),
    "kernels": (9.6, 4.6, 2.2, "kernels/ffkernels\nreference, torch,\nnative, triton"),
    "tasks": (3.3, 2.7, 2.5, "ffbench/tasks\nprompts, records,\nscorers"),
    "runs": (0.3, 2.7, 2.2, "ffbench/runs\nkeys, folders, cache,\nW&B mirror"),
    "files": (
        0.3,
        0.6,
        5.5,
        "outputs/\nruns/KEY: config, provenance, answers, plan, result\nstages/STAGE/KEY, sweeps/NAME",
    ),
    "analysis": (6.6, 0.6, 5.2, "analysis/\ntables, figures, notebooks, HTML page"),
}
ARROWS = [
    ("cli", "stages", "settings"),
    ("stages", "models", ""),
    ("models", "kernels", ""),
    ("models", "sparsity", ""),
    ("stages", "sparsity", ""),
    ("stages", "tasks", ""),
    ("stages", "runs", ""),
    ("runs", "files", "writes"),
    ("files", "analysis", "read by"),
]
HEIGHT = 1.15


def edge(name: str, towards: str) -> tuple[float, float]:
    """Point on the border of a box that faces another box."""
    x, y, width, _ = BOXES[name]
    other_x, other_y, other_width, _ = BOXES[towards]
    if x + width <= other_x:
        level = 0.5 if abs(y - other_y) < HEIGHT else 0.2 if other_y < y else 0.85
        return x + width, y + HEIGHT * level
    if other_x + other_width <= x:
        level = 0.5 if abs(y - other_y) < HEIGHT else 0.2 if other_y < y else 0.85
        return x, y + HEIGHT * level
    return x + min(width, other_width) / 2, y if other_y < y else y + HEIGHT


def draw(axes: Axes) -> None:
    """Boxes, then arrows from the part that uses to the part that is used."""
    for x, y, width, text in BOXES.values():
        axes.add_patch(
            FancyBboxPatch(
                (x, y),
                width,
                HEIGHT,
                boxstyle="round,pad=0.02,rounding_size=0.08",
                facecolor="#eef3f8",
                edgecolor="#30506e",
                linewidth=1.2,
            )
        )
        head, _, rest = text.partition("\n")
        axes.text(
            x + width / 2,
            y + HEIGHT - 0.25,
            head,
            ha="center",
            va="center",
            fontsize=10,
            weight="bold",
        )
        axes.text(x + width / 2, y + 0.45, rest, ha="center", va="center", fontsize=8.5)
    for start, end, label in ARROWS:
        a, b = edge(start, end), edge(end, start)
        axes.add_patch(
            FancyArrowPatch(
                a,
                b,
                arrowstyle="-|>",
                mutation_scale=14,
                color="#8a3b12",
                linewidth=1.4,
                shrinkA=2,
                shrinkB=2,
            )
        )
        if label:
            axes.text(
                (a[0] + b[0]) / 2 + 0.05,
                (a[1] + b[1]) / 2 + 0.12,
                label,
                fontsize=8,
                ha="center",
                color="#8a3b12",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
            )


def main() -> None:
    """Write the picture beside this file."""
    figure, axes = plt.subplots(figsize=(12, 5.6))
    axes.set_xlim(0, 12.1)
    axes.set_ylim(0.3, 6.0)
    axes.axis("off")
    draw(axes)
    figure.savefig(
        Path(__file__).with_name("architecture.svg"), bbox_inches="tight", metadata={"Date": None}
    )


if __name__ == "__main__":
    main()
