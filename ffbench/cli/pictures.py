"""Pictures of one run, in its folder, from where a tracker sends them; and of a sweep's runs."""

import sys
from pathlib import Path

from ffbench.cli.errors import import_problem


def warn_missing(what: str, error: ImportError) -> None:
    """Say that the packages for tables and plots are missing."""
    print(import_problem(f"no {what}", error), file=sys.stderr)


def draw_run(folder: Path) -> None:
    """Draw scores by task and the selection by layer into `plots` of a run folder, as far as the
    run has them.
    """
    try:
        from ffanalysis import load, plots
    except ImportError as error:
        warn_missing("picture", error)
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
        from ffanalysis import load, plots
    except ImportError as error:
        warn_missing("picture", error)
        return
    try:
        plots.pareto(load.runs(output_dir, keys), path)
    except (plots.NothingToDraw, load.LoadError) as reason:
        print(f"no picture: {reason}", file=sys.stderr)
    else:
        print(f"Picture: {path}")
