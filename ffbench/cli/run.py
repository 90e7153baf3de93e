"""Run the jobs of a command line: check all, do what is missing, print the table."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffbench.cli.compose import Job, jobs_of, sets_launcher, sweep_name
from ffbench.cli.errors import DONE, FAILED, INVALID, STOPPED, UsageError, refuse
from ffbench.cli.options import Parser
from ffbench.cli.spelling import searchpath
from ffbench.runs.progress import log_line

if TYPE_CHECKING:
    from ffbench.runs.status import SweepStatus
    from ffbench.settings import RunSettings


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options of a run; `settings` holds the overrides. Raises UsageError."""
    parser = Parser("", __doc__, settings=True)
    parser.add_argument("--dry-run", action="store_true", help="list the jobs, do nothing")
    parser.add_argument("--cfg", choices=["job"], help="print each job's configuration as YAML")
    parser.add_argument("--info", action="store_true", help="print the configuration folders")
    parser.add_argument("--config-dir", metavar="DIR", help="your own configuration files")
    parser.add_argument("-m", "--multirun", action="store_true", help="accepted, not needed")
    options = parser.parse(arguments)
    if options.config_dir is not None:
        try:
            options.settings.append(searchpath(options.config_dir))
        except ValueError as error:
            raise UsageError(str(error)) from error
    return options


def main(arguments: list[str]) -> int:
    """0 when every job is done, 1 when one failed, 2 for bad input."""
    options = parse(arguments)
    overrides: list[str] = options.settings
    trial = bool(os.environ.get("WANDB_SWEEP_ID"))
    if trial and sweep_name(overrides):
        return refuse(
            ["+sweep: a W&B agent's trial runs one job; leave +sweep= out of the sweep's command"]
        )
    jobs = jobs_of(overrides)
    if options.cfg or options.info:
        return show(options, overrides)
    if trial and len(jobs) > 1:
        return refuse(
            [
                "a W&B agent's trial runs one job, and these overrides make "
                f"{len(jobs)}; give one value per setting"
            ]
        )
    return checked(jobs, overrides, options.dry_run, sweep_name(overrides))


def show(options: argparse.Namespace, overrides: list[str]) -> int:
    """Print what --cfg and --info ask for."""
    from ffbench.cli.compose import job_texts
    from ffbench.cli.help import configuration_info

    if options.info:
        print(configuration_info(overrides))
    if options.cfg:
        print("---\n".join(job_texts(overrides)), end="")
    return DONE


def checked(jobs: list[Job], overrides: list[str], dry_run: bool, name: str | None) -> int:
    """Check every job, then list the jobs (`dry_run`) or do what is missing; `name` is the
    sweep's.
    """
    from ffbench.cli.preflight import disk_problems, job_problems
    from ffbench.runs.status import jobs_status
    from ffbench.runs.store import RunStore

    if problems := job_problems(jobs):
        return refuse(problems)
    listed, problems = keyed(jobs)
    if problems:
        return refuse(problems)
    status = jobs_status(RunStore(jobs[0].settings.output_dir), name or "runs", listed)
    left = [
        job.settings for job, state in zip(jobs, status.jobs, strict=True) if state.state != "done"
    ]
    if problems := disk_problems(left, Path(jobs[0].settings.output_dir)):
        return refuse(problems)
    if dry_run:
        return preview(jobs, status)
    return run_jobs(jobs, status, listed, overrides)


def keyed(jobs: list[Job]) -> tuple[list[dict[str, Any]], list[str]]:
    """{"run_key", "overrides"} of each job, and why a job has no key."""
    from ffbench.experiment.stages import run_key
    from ffbench.models.errors import ModelError
    from ffbench.runs.files import StoreError
    from ffbench.tasks.base import TaskError

    listed: list[dict[str, Any]] = []
    problems = []
    for job in jobs:
        try:
            key = run_key(job.settings)
        except (ModelError, TaskError) as error:
            problems.append(str(error))
        except StoreError as error:
            problems.append(f"output_dir: {error}")
        else:
            listed.append({"run_key": key, "overrides": list(job.overrides)})
    return listed, problems


def stages_line(settings: RunSettings) -> str:
    """Which shared stages of a run are done and which are missing."""
    from ffbench.experiment.stages import RunStages
    from ffbench.runs.cache import StageCache

    cache = StageCache(settings.output_dir)
    stages = [stage for stage in RunStages(settings).run.all() if stage.stored]
    done = [stage.name for stage in stages if cache.has(stage.name, stage.key)]
    missing = [stage.name for stage in stages if not cache.has(stage.name, stage.key)]
    return f"stages done: {', '.join(done) or 'none'}; missing: {', '.join(missing) or 'none'}"


def preview(jobs: list[Job], status: SweepStatus) -> int:
    """Print which jobs are done, missing or failed, and what the rest should cost."""
    from ffbench.cli.estimate import cost_line

    print("\n".join(status.lines()))
    left = []
    for job, state in zip(jobs, status.jobs, strict=True):
        if state.state != "done":
            left.append(job.settings)
            print(f"{state.run_key}  {stages_line(job.settings)}")
    print(cost_line(left))
    return DONE


def run_jobs(
    jobs: list[Job], status: SweepStatus, listed: list[dict[str, Any]], overrides: list[str]
) -> int:
    """Do on the chosen launcher what is not done; the table of what is done comes last, then every
    failure.
    """
    from ffbench.cli.launch import launched
    from ffbench.cli.launchers import Failure
    from ffbench.cli.live import live_view, runs_here
    from ffbench.cli.summary import failures, finish, next_commands
    from ffbench.runs.files import StoreError, make_folder
    from ffbench.runs.store import RunStore

    output_dir = jobs[0].settings.output_dir
    store = RunStore(output_dir)
    named = status.name if status.name != "runs" else None
    todo = {
        state.run_key: job
        for state, job in zip(status.jobs, jobs, strict=True)
        if state.state != "done"
    }
    failed: dict[str, Failure] = {}
    try:
        make_folder(Path(output_dir) / "runs")
        if named:
            store.save_sweep(named, listed)
    except StoreError as error:
        return refuse([f"output_dir: {error}"])
    if todo:
        launcher = [text for text in overrides if sets_launcher(text)]
        waiting = [job for job in listed if job["run_key"] in todo]
        try:
            with stoppable(), live_view(store, status.name, waiting, runs_here(launcher)):
                failed = launched(launcher, todo, ["python", "-m", "ffbench", *overrides])
        except KeyboardInterrupt:
            log_line("stopped; what is done is kept: the same command resumes")
            return STOPPED
    finish(output_dir, [state.run_key for state in status.jobs], named)
    for line in failures(output_dir, todo, failed, status.counts["done"]):
        log_line(line)
    if not failed:
        log_line(next_commands(output_dir, [state.run_key for state in status.jobs]))
        return DONE
    return INVALID if all(failure.permanent for failure in failed.values()) else FAILED


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM stops as Ctrl-C does: a W&B agent ends a trial early by it, and the run can be
    resumed later. It does so too where Ctrl-C is ignored, as in a script's background jobs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupt = signal.getsignal(signal.SIGINT)
    stop = signal.default_int_handler if interrupt == signal.SIG_IGN else interrupt
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
