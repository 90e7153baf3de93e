"""One run from its start to its end: its folder, its tracker, and what a failure leaves."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ffbench.experiment.identity import model_spec
from ffbench.experiment.pipeline import Pipeline
from ffbench.experiment.registered import registered
from ffbench.experiment.stages import RunStages
from ffbench.models.device import resolve_device
from ffbench.plugins import load_plugins
from ffbench.runs.cache import WAIT_SECONDS
from ffbench.runs.interrupts import interrupted
from ffbench.runs.machine import Machine
from ffbench.runs.provenance import collect as provenance
from ffbench.runs.run_folder import INTERRUPTED
from ffbench.runs.store import RunStore
from ffbench.settings import RunSettings
from ffbench.tracking.base import Tracker
from ffbench.tracking.mirror import mirror
from ffbench.tracking.open import open_tracker
from ffbench.tracking.watched import EndedEarly, WatchedTracker, Watcher


def execute(
    settings: RunSettings,
    command: list[str],
    draw: Callable[[Path], None] | None = None,
    watch: Watcher | None = None,
) -> str:
    """Do one run unless it is done; returns its key. A failure is written into the run folder and
    raised.

    If another process computes this run, its end is waited for. `draw` makes the pictures of a
    sparse run that a tracker gets. `watch` gets what is logged, and may end the run by EndedEarly.
    """
    plugins = load_plugins(settings.plugins, registered)
    key = RunStages(settings).run.key
    run = RunStore(settings.output_dir).folder(key)
    device = str(resolve_device(settings.model.device))
    source = provenance(command, device) | {
        "model_revision": model_spec(settings).revision,
        "plugins": [asdict(plugin) for plugin in plugins],
    }
    if not run.start(asdict(settings), source, WAIT_SECONDS):
        return key
    tracker: Tracker | None = None
    try:
        tracker = open_tracker(settings.tracker, key, asdict(settings), run.path)
        if watch:
            tracker = WatchedTracker(tracker, watch)
        with Machine(settings.output_dir) as machine:
            pipeline = Pipeline(settings, run, tracker, machine)
            run.finish(pipeline.dense_result() if settings.dense else pipeline.sparse_result())
    except BaseException as error:
        # Ctrl-C, also as the error that a library made of it, or SystemExit in a worker
        stopped = interrupted() or not isinstance(error, Exception)
        named = "" if isinstance(error, EndedEarly) else f"{type(error).__name__}: "
        text = f"{named}{error}".splitlines()[0]
        run.fail(INTERRUPTED if stopped else text)
        if tracker:
            tracker.finish("failed")
        if interrupted():
            raise KeyboardInterrupt from error
        raise
    if draw and settings.tracker.kind != "none" and not settings.dense:
        draw(run.path)
    mirror(tracker, run)
    tracker.finish("done")
    return key
