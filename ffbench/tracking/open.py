"""Open the tracker of a run."""

from pathlib import Path
from typing import Any

from ffbench.tracking.base import NullTracker, Tracker, TrackerSettings, chosen_mode, warn_once


def open_tracker(
    settings: TrackerSettings, run_key: str, config: dict[str, Any], folder: Path
) -> Tracker:
    """Tracker of one run; `folder` is the run's folder, and W&B's files go to OUTPUT_DIR/wandb
    next to runs/.

    If W&B cannot be used (not installed, no key, no server), one line says so and the run continues
    offline or without a tracker.

    Raises:
        ValueError: a setting is invalid.

    """
    problems = settings.problems()
    if problems:
        raise ValueError("; ".join(problems))
    mode = chosen_mode(settings)
    if settings.kind == "none" or mode == "disabled":
        return NullTracker()
    try:
        from ffbench.tracking.wandb import WandbTracker
    except ImportError as error:
        warn_once(
            f"W&B is not installed ({error}); this run is not tracked. Install it with `pip "
            "install "
            "'ffbench[tracking]'`, or choose tracker=none."
        )
        return NullTracker()
    return WandbTracker.open(settings, mode, run_key, config, folder)
