"""What an output folder holds: run folders by key, and the lists of jobs of its sweeps."""

import re
from pathlib import Path
from typing import Any

from ffbench.runs.files import StoreError, locked, make_folder, read_object, write_json
from ffbench.runs.run_folder import RunFolder, now

RUN_KEY = re.compile(r"[0-9a-f]{16}")
SWEEP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def read_sweep(path: Path) -> dict[str, Any]:
    """A saved sweep: {"name", "created", "jobs"}. Raises StoreError if the file is damaged."""
    sweep = read_object(path, name=str, jobs=list)
    for job in sweep["jobs"]:
        key = job.get("run_key") if isinstance(job, dict) else None
        if not (isinstance(key, str) and RUN_KEY.fullmatch(key)) or not texts(job.get("overrides")):
            raise StoreError(f"{path} is damaged (a job has no run_key or overrides); remove it")
    return sweep


def texts(value: Any) -> bool:
    """Whether a value is a list of texts."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


class RunStore:
    """The run folders and sweep lists of one output folder."""

    def __init__(self, output_dir: str | Path) -> None:
        self.output_dir = Path(output_dir)

    def folder(self, run_key: str) -> RunFolder:
        """The folder of `run_key`, whether it exists or not (ValueError if it is not 16 hex
        digits).
        """
        if not RUN_KEY.fullmatch(run_key):
            raise ValueError(
                f"run key {run_key!r} is not 16 hex digits; `python -m ffbench status` lists them"
            )
        return RunFolder(self.output_dir / "runs" / run_key)

    def runs(self) -> list[RunFolder]:
        """Every run folder, by key."""
        folder = self.output_dir / "runs"
        names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        return [RunFolder(folder / name) for name in names if RUN_KEY.fullmatch(name)]

    def save_sweep(self, name: str, jobs: list[dict[str, Any]]) -> None:
        """Write sweeps/NAME.json; each job is {"run_key", "overrides": [text]}. The first `created`
        is kept.
        """
        path = self._sweep_path(name)
        make_folder(path.parent)
        with locked(path):
            created = read_object(path, created=str)["created"] if path.exists() else now()
            write_json(path, {"name": name, "created": created, "jobs": jobs})

    def sweeps(self) -> list[dict[str, Any]]:
        """Every saved sweep, by name."""
        folder = self.output_dir / "sweeps"
        return (
            [read_sweep(path) for path in sorted(folder.glob("*.json"))] if folder.is_dir() else []
        )

    def sweep(self, name: str) -> dict[str, Any]:
        """One saved sweep.

        Raises:
            StoreError: no such sweep; the text lists those there are.

        """
        path = self._sweep_path(name)
        if not path.exists():
            there = ", ".join(sweep["name"] for sweep in self.sweeps()) or "none"
            raise StoreError(f"no sweep {name!r} in {self.output_dir}; there are: {there}")
        return read_sweep(path)

    def _sweep_path(self, name: str) -> Path:
        if not SWEEP_NAME.fullmatch(name):
            raise ValueError(
                f"sweep name {name!r}: use letters, digits, '.', '_' and '-', at most 100"
            )
        return self.output_dir / "sweeps" / f"{name}.json"
