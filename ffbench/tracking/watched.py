"""A tracker whose history somebody else watches, who may end the run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ffbench.tracking.base import Tracker

Watcher = Callable[[dict[str, Any]], None]


class EndedEarly(Exception):
    """A watcher ended this run; the text says after what."""


class WatchedTracker:
    """Passes everything on, and what is logged to the watcher too, which may raise EndedEarly."""

    def __init__(self, tracker: Tracker, watcher: Watcher) -> None:
        self._tracker, self._watcher = tracker, watcher

    def log(self, metrics: dict[str, Any]) -> None:
        """Log named numbers. Raises what the watcher raises."""
        self._tracker.log(metrics)
        self._watcher(metrics)

    def summary(self, metrics: dict[str, Any]) -> None:
        """Set the final metrics."""
        self._tracker.summary(metrics)

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Log rows as a table."""
        self._tracker.table(name, rows)

    def image(self, name: str, path: Path) -> None:
        """Log a picture file."""
        self._tracker.image(name, path)

    def artifact(self, folder: Path) -> None:
        """Log a folder as an artifact."""
        self._tracker.artifact(folder)

    def finish(self, status: str) -> None:
        """End the mirror."""
        self._tracker.finish(status)
