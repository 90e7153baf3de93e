"""Every figure and table that the runs of an output folder can feed: python -m analysis.figures --output-dir outputs"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from analysis import load, plots, tables

FIGURES: dict[str, tuple[Callable[[pd.DataFrame, Path], None], Callable[..., pd.DataFrame]]] = {
    "pareto": (plots.pareto, load.runs),
    "loss_by_sparsity": (plots.loss_by_sparsity, load.runs),
    "tasks": (plots.task_losses, load.tasks),
    "layer_recall": (plots.layer_recall, load.layers),
    "layer_density": (plots.layer_density, load.layers),
    "speed_by_length": (plots.speed_by_length, load.timings),
}


def make(output_dir: Path, folder: Path) -> list[str]:
    """Write figures and tables into `folder`; returns a line for each, those that could not be made included.

    Raises LoadError where there are no runs.
    """
    frame = load.runs(output_dir)
    if frame.empty:
        raise load.LoadError(f"no done runs in {output_dir}; start some with: python -m ffbench +sweep=sparsity")
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, (draw, read) in FIGURES.items():
        try:
            draw(read(output_dir), folder / f"{name}.png")
            lines.append(f"{folder / name}.png and .svg")
        except plots.NothingToDraw as reason:
            lines.append(f"{name}: not drawn: {reason}")
    for style, ending in (("md", "md"), ("csv", "csv"), ("latex", "tex")):
        (folder / f"runs.{ending}").write_text(tables.report(frame, style) + "\n")
        lines.append(f"{folder / 'runs'}.{ending}")
    return lines


def main() -> int:
    """0 when made, 2 where there is nothing to make them of."""
    parser = argparse.ArgumentParser(prog="python -m analysis.figures", description=__doc__)
    parser.add_argument("--output-dir", type=Path, default=Path("outputs"))
    parser.add_argument("--to", type=Path, help="default: OUTPUT_DIR/plots")
    options = parser.parse_args()
    try:
        print("\n".join(make(options.output_dir, options.to or options.output_dir / "plots")))
    except load.LoadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
