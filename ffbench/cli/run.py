"""Run the jobs of a command line: check all, do what is missing, print the table."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffbench.cli.compose import ConfigProblems, Job, jobs_of, sets_launcher, sweep_name
from ffbench.cli.main import refuse
from ffbench.runs.progress import say

if TYPE_CHECKING:
    from ffbench.runs.status import SweepStatus

DRY = "--dry-run"
STOPPED = 130


def main(arguments: list[str]) -> int:
    """0 when every job is done, 1 when one failed, 2 for bad input."""
    words = [word for word in arguments if word != DRY]
    options = [word for word in words if word.startswith("-")]
    if options:
        return refuse([f"{word}: no such option; there are {DRY} and --help" for word in options])
    trial = bool(os.environ.get("WANDB_SWEEP_ID"))
    if trial and sweep_name(words):
        return refuse(
            [
                "+sweep: a W&B agent's trial runs one job; leave +sweep= out of the sweep file's command"
            ]
        )
    try:
        jobs = jobs_of(words)
    except ConfigProblems as problem:
        return refuse(problem.found)
    if trial and len(jobs) > 1:
        return refuse(
            [
                f"a W&B agent's trial runs one job, and these words make {len(jobs)}; give one value a setting"
            ]
        )
    return checked(jobs, words, DRY in arguments, sweep_name(words))


def checked(
    jobs: list[Job], words: list[str], dry_run: bool = False, name: str | None = None
) -> int:
    """Check every job, then list or run them; `name` is that of their sweep."""
    from ffbench.validation import problems

    found = [problem for job in jobs for problem in problems(job.settings)]
    if found:
        return refuse(found)
    from ffbench.experiment.stages import run_key
    from ffbench.models.loading import ModelError
    from ffbench.runs.files import StoreError
    from ffbench.runs.status import jobs_status
    from ffbench.runs.store import RunStore
    from ffbench.tasks.base import TaskError

    keys = []
    for job in jobs:
        try:
            keys.append(run_key(job.settings))
        except (ModelError, TaskError) as error:
            found.append(str(error))
        except StoreError as error:
            found.append(f"output_dir: {error}")
    if found:
        return refuse(found)
    listed: list[dict[str, Any]] = [
        {"run_key": key, "overrides": list(job.words)} for job, key in zip(jobs, keys, strict=True)
    ]
    status = jobs_status(RunStore(jobs[0].settings.output_dir), name or "runs", listed)
    if dry_run:
        return preview(jobs, status)
    return run_jobs(jobs, status, listed, words)


def preview(jobs: list[Job], status: SweepStatus) -> int:
    """Print which jobs are done, missing or failed, and what the rest should cost."""
    from ffbench.runs.status import estimate_cost
    from ffbench.runs.store import RunStore

    settings = jobs[0].settings
    print("\n".join(status.lines()))
    left = {job.run_key for job in status.jobs if job.state != "done"}
    print(estimate_cost(RunStore(settings.output_dir), len(left), settings.model.name).line())
    return 0


def run_jobs(
    jobs: list[Job], status: SweepStatus, listed: list[dict[str, Any]], words: list[str]
) -> int:
    """Do on the chosen launcher what is not done; the table of what is done comes last, then every
    failure.
    """
    from ffbench.cli.launch import LauncherError, launched
    from ffbench.cli.live import live_view, runs_here
    from ffbench.cli.summary import failures, finish
    from ffbench.runs.files import StoreError, make_folder
    from ffbench.runs.store import RunStore

    output_dir = jobs[0].settings.output_dir
    named = status.name if status.name != "runs" else None
    todo = {
        one.run_key: job for one, job in zip(status.jobs, jobs, strict=True) if one.state != "done"
    }
    reasons: dict[str, str] = {}
    try:
        make_folder(Path(output_dir) / "runs")
        if named:
            RunStore(output_dir).save_sweep(named, listed)
        if todo:
            launcher = [word for word in words if sets_launcher(word)]
            waiting = [one for one in listed if one["run_key"] in todo]
            with (
                stoppable(),
                live_view(RunStore(output_dir), status.name, waiting, runs_here(launcher)),
            ):
                reasons = launched(launcher, todo, ["python", "-m", "ffbench", *words])
    except StoreError as error:
        return refuse([f"output_dir: {error}"])
    except LauncherError as error:
        return refuse([str(error)])
    except KeyboardInterrupt:
        say("stopped; what is done is kept: start the same command again to go on")
        return STOPPED
    finish(output_dir, [one.run_key for one in status.jobs], named)
    for line in failures(output_dir, todo, reasons, status.counts["done"]):
        say(line)
    return 1 if reasons else 0


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM stops as Ctrl-C does: a W&B agent ends a trial early by it, and the run is left to go
    on later.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
