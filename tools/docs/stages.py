"""The table of stages, from their declarations."""

from pathlib import Path

from ffanalysis.tables import grid


def table(root: Path) -> str:
    """One row per stage: its version, what it makes and whether it is kept."""
    # imported here: the declarations need torch, the other parts do not
    from ffbench.experiment.stages import DECLARATIONS

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
