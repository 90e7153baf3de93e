"""trackio as a tracker: a local database and dashboard, no account. Importing this module imports
trackio.
"""

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ffbench.error_text import first_line
from ffbench.runs.files import make_folder
from ffbench.tracking.base import NullTracker, Tracker, TrackerSettings, warn_once
from ffbench.tracking.mirror import flat

FOLDER = "TRACKIO_DIR"
# trackio would send to these what is meant to stay here
REMOTES = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")


class TrackioTracker:
    """One trackio run, named by the run key.

    An error of trackio is reported once and the mirror continues; the run itself never stops.
    trackio has no summary: final metrics are the last step of the history.
    """

    def __init__(self, trackio: Any, run: Any, run_key: str) -> None:
        self._trackio, self._run, self._run_key = trackio, run, run_key
        self.problem: str | None = None

    @classmethod
    def open(
        cls, settings: TrackerSettings, run_key: str, config: dict[str, Any], folder: Path
    ) -> Tracker:
        """Start the run in OUTPUT_DIR/trackio, or in the variable TRACKIO_DIR; NullTracker if it
        fails. Raises ImportError without trackio.

        What an earlier, interrupted start left under this name is dropped: the run folder has it.
        """
        # read when trackio is imported, so that all runs of a process share the first one's folder
        os.environ.setdefault(FOLDER, str(folder.parent.parent.absolute() / "trackio"))
        import trackio

        try:
            make_folder(Path(os.environ[FOLDER]))
            with quiet(), local_only():
                drop_earlier(trackio.Api(), settings.project, run_key)
                started = trackio.init(
                    settings.project,
                    name=run_key,
                    config={"cfg": config},
                    embed=False,
                    auto_log_gpu=False,
                    auto_log_cpu=False,
                )
        except Exception as error:  # noqa: BLE001 - a tracker never stops a run
            warn_once(f"trackio: cannot start ({first_line(error)}); this run is not tracked")
            return NullTracker()
        return cls(trackio, started, run_key)

    def log(self, metrics: dict[str, Any]) -> None:
        """Log named numbers."""
        if values := flat(metrics):
            self._try(lambda: self._run.log(values))

    def summary(self, metrics: dict[str, Any]) -> None:
        """Log the final metrics."""
        self.log(metrics)

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Log rows as a table."""
        columns = list(dict.fromkeys(column for row in rows for column in row))
        data = [[row.get(column) for column in columns] for row in rows]
        self._try(lambda: self._run.log({name: self._trackio.Table(columns=columns, data=data)}))

    def image(self, name: str, path: Path) -> None:
        """Log a picture file."""
        self._try(lambda: self._run.log({name: self._trackio.Image(str(path))}))

    def artifact(self, folder: Path) -> None:
        """Log a folder as the artifact `FOLDER-RUN_KEY`."""
        name = f"{folder.name}-{self._run_key}"
        self._try(lambda: self._run.log_artifact(folder, name=name, type=folder.name))

    def finish(self, status: str) -> None:
        """Log how the run ended, and write everything to the disk."""
        self._try(lambda: self._run.log({"status": status}))
        self._try(self._trackio.finish)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            with quiet():
                action()
        except Exception as error:  # noqa: BLE001 - the run's own files are the truth
            self.problem = self.problem or first_line(error)
            warn_once(f"trackio: not everything was logged ({self.problem})")


def drop_earlier(api: Any, project: str, run_key: str) -> None:
    """Delete the run of an earlier start, if there is one."""
    try:
        runs = list(api.runs(project))
    except ValueError:  # no such project yet
        return
    for run in runs:
        if run.name == run_key:
            run.delete()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without trackio's own lines, which would drown a sweep's."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


@contextlib.contextmanager
def local_only() -> Iterator[None]:
    """Without the variables that would make trackio send what is logged."""
    saved = {name: os.environ.pop(name) for name in REMOTES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(saved)
