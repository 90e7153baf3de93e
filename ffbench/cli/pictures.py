"""Pictures of one run, in its folder, and of all runs of a sweep."""

import sys
from pathlib import Path

from ffbench.cli.errors import import_problem


def report_missing(error: ImportError) -> None:
    """Print why the plotting packages cannot be imported."""
    print(import_problem("no picture", error), file=sys.stderr)


def draw_run(folder: Path) -> None:
    """Draw scores by task and the selector's metrics by layer into `plots` of a run folder, as far
    as it has them.
    """
    try:
        from ffanalysis import load, plots
    except ImportError as error:
        report_missing(error)
        return
    output_dir, key = folder.parent.parent, folder.name
    for name, draw, frame in (
        ("tasks", plots.task_scores, load.tasks),
        ("layers", plots.layer_recall, load.layers),
    ):
        try:
            draw(frame(output_dir, [key]), folder / "plots" / f"{name}.png")
        except (plots.NothingToDraw, load.LoadError) as reason:
            print(f"no picture {name} of run {key}: {reason}", file=sys.stderr)


def draw_sweep(output_dir: str, keys: list[str], path: Path) -> None:
    """Draw loss against speedup of several runs."""
    try:
        from ffanalysis.load import runs
        from ffanalysis.plots import NothingToDraw, pareto
    except ImportError as error:
        report_missing(error)
        return
    try:
        pareto(runs(output_dir, keys), path)
    except NothingToDraw as reason:
        print(f"no picture: {reason}", file=sys.stderr)
    else:
        print(f"Picture: {path}")
