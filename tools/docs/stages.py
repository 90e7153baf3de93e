"""The table of stages, from their declarations."""

from pathlib import Path

from ffanalysis.tables import grid
from ffbench.experiment.declarations import DECLARATIONS


def table(root: Path) -> str:
    """One row per stage: its version, what it makes and whether it is kept."""
    rows = [
        [
            f"`{name}`",
            str(stage.version),
            stage.makes,
            ("yes, resumes" if stage.resumable else "yes") if stage.stored else "no",
        ]
        for name, stage in DECLARATIONS.items()
    ]
    return grid(["stage", "version", "makes", "kept under stages/"], rows)
