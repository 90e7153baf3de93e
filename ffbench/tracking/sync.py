"""Send finished run folders to W&B after the fact. A second sync sends nothing twice."""

from dataclasses import dataclass, field
from pathlib import Path

from ffbench.runs.files import StoreError, read_json
from ffbench.runs.run_folder import RunFolder
from ffbench.runs.store import RunStore
from ffbench.tracking.base import PROBE_SHARE, TrackerSettings, has_key, server, unreachable
from ffbench.tracking.mirror import mirror


@dataclass
class SyncReport:
    """Run keys by what became of them; `failed` and `skipped` carry the reason."""

    sent: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """One line per run that was not sent, then the totals."""
        rows = [
            f"{key}  {kind}: {reason}"
            for kind, group in (("skipped", self.skipped), ("failed", self.failed))
            for key, reason in group.items()
        ]
        total = (
            f"{len(self.sent)} sent, {len(self.present)} already there, "
            f"{len(self.skipped)} skipped, {len(self.failed)} failed"
        )
        return [*rows, total]


def sync(
    output_dir: str | Path,
    run_keys: list[str] | None = None,
    settings: TrackerSettings | None = None,
) -> SyncReport:
    """Send the done runs of `output_dir` (or only `run_keys`) that W&B does not have in their
    present form.

    Raises:
        StoreError: no API key, no server, or no wandb package; nothing was sent then.
        ValueError: a run key is not 16 hex digits.

    """
    settings = settings or TrackerSettings()
    store = RunStore(output_dir)
    runs = store.runs() if run_keys is None else [store.folder(key) for key in run_keys]
    _need_server(settings)
    report = SyncReport()
    for run in runs:
        state = run.state()
        if state.state != "done":
            report.skipped[run.run_key] = state.state + (
                f" ({state.reason})" if state.reason else ""
            )
        elif _is_present(run, settings):
            report.present.append(run.run_key)
        else:
            _send(run, settings, report)
    return report


def _need_server(settings: TrackerSettings) -> None:
    try:
        import wandb  # noqa: F401
    except ImportError as error:
        raise StoreError("sync needs wandb: `pip install 'ffbench[tracking]'`") from error
    if not has_key():
        raise StoreError(
            f"sync needs an API key for {server()}: run `wandb login`, or set WANDB_API_KEY"
        )
    problem = unreachable(server(), settings.timeout * PROBE_SHARE)
    if problem:
        raise StoreError(
            f"the W&B server {server()} does not answer ({problem}); try again when it does"
        )


def _is_present(run: RunFolder, settings: TrackerSettings) -> bool:
    from ffbench.tracking.wandb import MARKER, result_digest, target

    path = run.path / MARKER
    if not path.exists():
        return False
    marker = read_json(path)
    return (
        marker.get("target") == target(settings)
        and marker.get("status") == "done"
        and marker.get("result") == result_digest(run.path)
    )


def _send(run: RunFolder, settings: TrackerSettings, report: SyncReport) -> None:
    from ffbench.tracking.wandb import WandbTracker

    try:
        tracker = WandbTracker.open_online(settings, run.run_key, run.config(), run.path)
        mirror(tracker, run)
        tracker.finish("done")
    except StoreError as error:
        report.failed[run.run_key] = str(error)
        return
    if _is_present(run, settings):
        report.sent.append(run.run_key)
    else:
        report.failed[run.run_key] = tracker.problem or "W&B did not take the run"
