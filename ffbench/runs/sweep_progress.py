"""How far a sweep is and about how long the rest takes, read from its run folders: any launcher,
any machine.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from ffbench.runs.files import StoreError
from ffbench.runs.progress import duration
from ffbench.runs.status import SweepStatus, estimate_cost
from ffbench.runs.store import RunStore

SHORTEST_SECONDS = 1.0


@dataclass(frozen=True)
class SweepProgress:
    """A sweep's state; `answers` counts those of the jobs that run, `seconds_left` is None if
    nothing tells it.
    """

    status: SweepStatus
    answers: int
    seconds_left: float | None

    @property
    def over(self) -> bool:
        """Whether no job is missing or running."""
        return not self.status.counts["missing"] and not self.status.counts["running"]

    @property
    def ended(self) -> int:
        """Jobs that are done or failed."""
        return self.status.counts["done"] + self.status.counts["failed"]

    def detail(self) -> str:
        """Running jobs with their answers, failures, time left."""
        counts, parts = self.status.counts, []
        if counts["running"]:
            parts.append(
                f"{counts['running']} running"
                + (f" ({self.answers} answers)" if self.answers else "")
            )
        if counts["failed"]:
            parts.append(f"{counts['failed']} failed")
        if self.seconds_left is not None and not self.over:
            parts.append(f"about {duration(self.seconds_left)} left")
        return ", ".join(parts)

    def line(self) -> str:
        """All of it in one line."""
        detail = self.detail()
        return (
            f"{self.status.name}: {self.status.counts['done']} of {len(self.status.jobs)} done"
            + (f", {detail}" if detail else "")
        )


def sweep_progress(store: RunStore, status: SweepStatus) -> SweepProgress:
    """Progress of a sweep whose `status` was just read."""
    running = [job.run_key for job in status.jobs if job.state == "running"]
    return SweepProgress(
        status,
        sum(answer_count(store, key) for key in running),
        seconds_left(store, status, running),
    )


def answer_count(store: RunStore, run_key: str) -> int:
    """Lines of a run's answers so far."""
    path = store.folder(run_key).path / "answers.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def seconds_left(store: RunStore, status: SweepStatus, running: list[str]) -> float | None:
    """Median wall time of this sweep's done jobs for each missing one, and what is left of it for
    those that run, over the number that run side by side.

    Dense jobs, which train nothing, do not count. Before the first is done, the estimate from past
    runs. None if there is neither.
    """
    times = [
        seconds
        for job in status.jobs
        if job.state == "done" and not is_dense(store, job.run_key)
        for seconds in [wall_seconds(store, job.run_key)]
        if seconds is not None and seconds > SHORTEST_SECONDS
    ]
    each = median(times) if times else estimate_cost(store, 1).seconds
    if each is None:
        return None
    begun = [running_seconds(store, key) for key in running]
    rest = sum(max(each - seconds, 0.0) for seconds in begun)
    return (each * status.counts["missing"] + rest) / max(1, len(running))


def running_seconds(store: RunStore, run_key: str) -> float:
    """Seconds since a run was started last; 0 if its files do not tell."""
    try:
        started = str(store.folder(run_key).provenance().get("started"))
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(started)).total_seconds())
    except (StoreError, ValueError):
        return 0.0


def is_dense(store: RunStore, run_key: str) -> bool:
    """Whether a done run was the dense model."""
    try:
        return store.folder(run_key).result().get("sparsity") == 0
    except StoreError:
        return False


def wall_seconds(store: RunStore, run_key: str) -> float | None:
    """Seconds from a run's last start to its end; None if its files do not tell."""
    run = store.folder(run_key)
    try:
        started, updated = run.provenance().get("started"), run.state().updated
        if not started or not updated:
            return None
        return (datetime.fromisoformat(updated) - datetime.fromisoformat(started)).total_seconds()
    except (StoreError, ValueError):
        return None
