"""Which runs of a sweep are done, missing or failed, and what the rest should cost."""

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import Any

from ffbench.runs.files import StoreError
from ffbench.runs.progress import duration
from ffbench.runs.run_folder import RunFolder
from ffbench.runs.store import RunStore

STATES = ("done", "running", "missing", "failed")


@dataclass(frozen=True)
class JobStatus:
    """One job of a sweep: its run, its overrides and the run's state."""

    run_key: str
    overrides: tuple[str, ...]
    state: str
    reason: str | None
    folder: str


@dataclass(frozen=True)
class SweepStatus:
    """A sweep's jobs in their order."""

    name: str
    jobs: tuple[JobStatus, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Number of jobs in each state."""
        counted = Counter(job.state for job in self.jobs)
        return {state: counted[state] for state in STATES}

    @property
    def failures(self) -> list[JobStatus]:
        """Every failed job."""
        return [job for job in self.jobs if job.state == "failed"]

    def lines(self) -> list[str]:
        """A line per job, then the totals."""
        rows = [
            f"{job.state:8} {job.run_key}  {' '.join(job.overrides)}"
            + (f"  ({job.reason})" if job.reason else "")
            for job in self.jobs
        ]
        totals = ", ".join(f"{count} {state}" for state, count in self.counts.items())
        return [*rows, f"{self.name}: {len(self.jobs)} jobs: {totals}"]


def job_status(store: RunStore, run_key: str, overrides: list[str]) -> JobStatus:
    """State of one job; a damaged run folder counts as failed, with what is damaged as the
    reason.
    """
    run = store.folder(run_key)
    try:
        state = run.state()
    except StoreError as error:
        return JobStatus(run_key, tuple(overrides), "failed", str(error), str(run.path))
    return JobStatus(run_key, tuple(overrides), state.state, state.reason, str(run.path))


def jobs_status(store: RunStore, name: str, jobs: list[dict[str, Any]]) -> SweepStatus:
    """Status of {"run_key", "overrides"} jobs, of a saved sweep or of one only planned (a dry
    run).
    """
    return SweepStatus(
        name, tuple(job_status(store, job["run_key"], job["overrides"]) for job in jobs)
    )


def sweep_status(store: RunStore, name: str) -> SweepStatus:
    """Status of the saved sweep `name` (StoreError if there is none)."""
    return jobs_status(store, name, store.sweep(name)["jobs"])


def all_status(store: RunStore) -> list[SweepStatus]:
    """Status of every saved sweep; runs that belong to none follow as the sweep `(no sweep)`."""
    sweeps = [jobs_status(store, sweep["name"], sweep["jobs"]) for sweep in store.sweeps()]
    listed = {job.run_key for sweep in sweeps for job in sweep.jobs}
    loose = [
        {"run_key": run.run_key, "overrides": []}
        for run in store.runs()
        if run.run_key not in listed
    ]
    return [*sweeps, jobs_status(store, "(no sweep)", loose)] if loose else sweeps


@dataclass(frozen=True)
class CostEstimate:
    """Seconds that the jobs still to do should take one after the other, from `based_on` past runs.

    `seconds` is None if no past run resembles them; a dense one, which trains nothing, never
    does.
    """

    jobs: int
    seconds: float | None
    based_on: int

    def line(self) -> str:
        """The estimate as a sentence."""
        if not self.jobs:
            return "nothing to do"
        if self.seconds is None:
            return f"{self.jobs} jobs to do; no past run to estimate their cost from"
        return (
            f"{self.jobs} jobs to do, about {duration(self.seconds)} one after the other (median "
            f"of {self.based_on} past runs; what is cached already makes it less)"
        )


def marked_busy(result: dict[str, Any]) -> bool:
    """Whether other work ran on the machine while a run's speed was measured."""
    return bool((result.get("speed") or {}).get("busy"))


def estimate_cost(store: RunStore, jobs: int, model: str | None = None) -> CostEstimate:
    """Cost of `jobs` runs from the median total of past runs, of the same `model` name if there
    are some; runs that are marked busy are left out.
    """
    totals: dict[str, list[float]] = {}
    for run in store.runs():
        cost = _cost(run)
        if cost is not None:
            totals.setdefault(cost[0], []).append(cost[1])
    known = totals.get(model, []) if model is not None else []
    known = known or [seconds for group in totals.values() for seconds in group]
    return CostEstimate(jobs, jobs * median(known) if known else None, len(known))


def _cost(run: RunFolder) -> tuple[str, float] | None:
    try:
        result = run.result()
    except StoreError:
        return None
    if result.get("sparsity") == 0 or marked_busy(result):
        return None
    seconds = sum(value for value in (result.get("cost") or {}).values() if value is not None)
    return (str(result.get("model")), seconds) if seconds else None
