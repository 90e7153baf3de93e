"""Weights & Biases as a tracker. Importing this module imports wandb."""

import logging
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

# wandb reads this once, when it is imported: its own lines would drown a sweep's
os.environ.setdefault("WANDB_SILENT", "true")

import wandb

from ffbench.error_text import first_line
from ffbench.runs.files import StoreError, make_folder, read_json, write_json
from ffbench.runs.identity import content_key
from ffbench.tracking.base import (
    START_SHARE,
    NullTracker,
    Tracker,
    TrackerSettings,
    bounded,
    server,
    warn_once,
)
from ffbench.tracking.mirror import flat

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.5
ABANDON_SECONDS = 2.0
MARKER = "tracker.json"


def table_of(rows: list[dict[str, Any]]) -> wandb.Table:
    """Rows as a W&B table."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return wandb.Table(
        columns=[*columns],
        data=[[row.get(name) for name in columns] for row in rows],
        allow_mixed_types=True,
    )


def start_run(
    settings: TrackerSettings, mode: str, run_key: str, config: dict[str, Any], folder: Path
) -> "wandb.Run":
    """A W&B run named by the run key; inside an agent's trial the agent's own id stays.

    The configuration is nested under `cfg`: a sweep writes its flat parameters over keys of the
    same name.
    """
    output_dir = make_folder(folder.parent.parent)
    own_id = "WANDB_RUN_ID" not in os.environ
    if own_id:
        drop_earlier(output_dir, run_key)
    return wandb.init(
        project=settings.project,
        entity=settings.entity,
        dir=str(output_dir),
        config={"cfg": config},
        mode="online" if mode == "online" else "offline",
        reinit="create_new",
        id=run_key if own_id else None,
        name=run_key,
        resume="allow" if own_id and mode == "online" else None,
        settings=wandb.Settings(
            silent=True,
            console="off",
            init_timeout=settings.timeout * START_SHARE,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
            disable_git=True,
            disable_code=True,
            x_transaction_log_flush_interval=FLUSH_SECONDS,
        ),
    )


def drop_earlier(output_dir: Path, run_key: str) -> None:
    """Remove W&B's own folders of earlier, interrupted starts of a run: the run folder holds all
    that was in them.
    """
    for path in (output_dir / "wandb").glob(f"*run-*-{run_key}"):
        shutil.rmtree(path, ignore_errors=True)


class WandbTracker:
    """One W&B run.

    A W&B error is reported once and the mirror continues; a call that exceeds the time-out
    ends the mirror. Either way the run itself continues, and `problem` keeps the first error.
    """

    def __init__(
        self, run: "wandb.Run", mode: str, settings: TrackerSettings, folder: Path
    ) -> None:
        self._run: wandb.Run | None = run
        self._mode = mode
        self._settings = settings
        self._folder = folder
        self.problem: str | None = None

    @classmethod
    def open(
        cls,
        settings: TrackerSettings,
        mode: str,
        run_key: str,
        config: dict[str, Any],
        folder: Path,
    ) -> Tracker:
        """Start the W&B run, offline if online fails; NullTracker if both fail."""
        for attempt in dict.fromkeys((mode, "offline")):
            try:
                run = start_run(settings, attempt, run_key, config, folder)
                return cls(run, attempt, settings, folder)
            except Exception as error:  # noqa: BLE001 - W&B's service raises errors of several families
                end_service()  # else the run id stays in use there
                warn_once(
                    f"W&B: cannot start {attempt} ({first_line(error)}); send the run later with "
                    "`python -m ffbench sync`."
                )
        return NullTracker()

    @classmethod
    def open_online(
        cls, settings: TrackerSettings, run_key: str, config: dict[str, Any], folder: Path
    ) -> "WandbTracker":
        """Start an online W&B run, or raise StoreError saying why not."""
        try:
            return cls(
                start_run(settings, "online", run_key, config, folder), "online", settings, folder
            )
        except Exception as error:
            end_service()
            raise StoreError(f"W&B does not start run {run_key}: {first_line(error)}") from error

    def log(self, metrics: dict[str, Any]) -> None:
        """Log named numbers."""
        self._try(lambda run: run.log(flat(metrics)))

    def summary(self, metrics: dict[str, Any]) -> None:
        """Set the final metrics."""
        self._try(lambda run: run.summary.update(flat(metrics)))

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Log rows as a table."""
        self._try(lambda run: run.log({name: table_of(rows)}))

    def image(self, name: str, path: Path) -> None:
        """Log a picture file."""
        self._try(lambda run: run.log({name: wandb.Image(str(path))}))

    def artifact(self, folder: Path) -> None:
        """Log a folder as the artifact `FOLDER-RUN_KEY`."""
        self._try(lambda run: log_folder(run, folder, self._folder.name))

    def finish(self, status: str) -> None:
        """End the W&B run; a server that went away costs at most the time-out, and the rest waits
        for sync.
        """
        if self._run is None:
            return
        marker = self._marker(self._run, status)
        self._try(lambda run: run.finish(exit_code=0 if status == "done" else 1))
        self._run = None
        if self.problem is None:
            write_json(self._folder / MARKER, marker)

    def _marker(self, run: "wandb.Run", status: str) -> dict[str, Any]:
        online = self._mode == "online"
        return {
            "mode": self._mode,
            "target": target(self._settings) if online else None,
            "run_id": run.id,
            "url": run.url,
            "status": status,
            "result": result_digest(self._folder),
        }

    def _try(self, action: Callable[["wandb.Run"], object]) -> None:
        run = self._run
        if run is None:
            return
        try:
            if not bounded(lambda: action(run), self._settings.timeout):
                self._run = None
                end_service()
                self._report(f"the server took more than {self._settings.timeout:.0f} s")
        except Exception as error:  # noqa: BLE001 - whatever W&B raises, the run's own files are the truth
            self._report(first_line(error))

    def _report(self, problem: str) -> None:
        self.problem = self.problem or problem
        warn_once(
            f"W&B: not everything was sent ({problem}); send the run later with `python -m "
            "ffbench sync`."
        )


def end_service() -> None:
    """End the wandb-core process of this process, so that no call and no exit waits for a dead
    server.

    W&B's own exit hook has no time limit: it was still waiting after 200 s. The next `wandb.init`
    starts anew.
    """
    for pid in own_children("wandb-core"):
        os.kill(pid, signal.SIGKILL)
    try:
        bounded(wandb.teardown, ABANDON_SECONDS)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - teardown exits when its service was killed
        logger.debug("wandb.teardown after the end of its service: %s", error)


def own_children(name: str) -> list[int]:
    """Process ids of this process's children called `name` (empty if there is no /proc)."""
    children = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            before, _, after = entry.read_text(errors="replace", encoding="utf-8").rpartition(")")
        except OSError:  # the process ended meanwhile
            continue
        if before.partition("(")[2] == name and int(after.split()[1]) == os.getpid():
            children.append(int(entry.parent.name))
    return children


def target(settings: TrackerSettings) -> str:
    """Server, entity and project that runs go to."""
    return f"{server()}/{settings.entity or os.environ.get('WANDB_ENTITY', '')}/{settings.project}"


def result_digest(folder: Path) -> str | None:
    """Content key of result.json; None if the run is not done."""
    path = folder / "result.json"
    return content_key(read_json(path)) if path.exists() else None


def log_folder(run: "wandb.Run", folder: Path, run_key: str) -> None:
    """Log `folder` as an artifact of type `FOLDER`."""
    artifact = wandb.Artifact(name=f"{folder.name}-{run_key}", type=folder.name)
    artifact.add_dir(str(folder))
    run.log_artifact(artifact)
