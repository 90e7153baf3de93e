"""Open the tracker of a run."""

from pathlib import Path
from typing import Any

from ffbench.tracking.base import NullTracker, Tracker, TrackerSettings, chosen_mode, warn_once


def open_tracker(
    settings: TrackerSettings, run_key: str, config: dict[str, Any], folder: Path
) -> Tracker:
    """Tracker of one run; `folder` is the run's folder, and the tracker's files go to
    OUTPUT_DIR/wandb or OUTPUT_DIR/trackio next to runs/.

    If W&B cannot be used (not installed, no key, no server), one line says so and the run continues
    offline or without a tracker.

    Raises:
        ValueError: a setting is invalid.

    """
    problems = settings.problems()
    if problems:
        raise ValueError("; ".join(problems))
    if settings.kind == "trackio":
        return open_trackio(settings, run_key, config, folder)
    mode = chosen_mode(settings)
    if settings.kind == "none" or mode == "disabled":
        return NullTracker()
    try:
        from ffbench.tracking.wandb import WandbTracker
    except ImportError as error:
        warn_once(
            f"W&B is not installed ({error}); this run is not tracked. Install it with `pip "
            "install 'ffbench[tracking]'`, or choose tracker=none."
        )
        return NullTracker()
    return WandbTracker.open(settings, mode, run_key, config, folder)


def open_trackio(
    settings: TrackerSettings, run_key: str, config: dict[str, Any], folder: Path
) -> Tracker:
    """A local trackio run, or none with one line if trackio is not installed."""
    from ffbench.tracking.trackio import TrackioTracker

    try:
        return TrackioTracker.open(settings, run_key, config, folder)
    except ImportError as error:
        warn_once(
            f"trackio is not installed ({error}); this run is not tracked. Install it with `pip "
            "install 'ffbench[trackio]'`, or choose tracker=none."
        )
        return NullTracker()
