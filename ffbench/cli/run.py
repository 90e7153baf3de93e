"""Run the jobs of a command line: check all, do what is missing, print the table."""

import os
import sys

from ffbench.cli.compose import ConfigProblems, Job, jobs_of, sweep_name
from ffbench.cli.main import refuse

DRY = "--dry-run"


def main(arguments: list[str]) -> int:
    """0 when every job is done, 1 when one failed, 2 for bad input."""
    words = [word for word in arguments if word != DRY]
    options = [word for word in words if word.startswith("-")]
    if options:
        return refuse([f"{word}: no such option; there are {DRY} and --help" for word in options])
    if os.environ.get("WANDB_SWEEP_ID") and sweep_name(words):
        return refuse(["+sweep: a W&B agent's trial runs one job; leave +sweep= out of the sweep file's command"])
    try:
        jobs = jobs_of(words)
    except ConfigProblems as problem:
        return refuse(problem.found)
    return checked(jobs, words, DRY in arguments)


def checked(jobs: list[Job], words: list[str], dry_run: bool = False) -> int:
    """Check every job, then list or run them."""
    from ffbench.validation import problems

    found = [problem for job in jobs for problem in problems(job.settings)]
    if found:
        return refuse(found)
    from ffbench.models.loading import ModelError
    from ffbench.stages.keys import run_key
    from ffbench.tasks.registry import TaskError

    keys = []
    for job in jobs:
        try:
            keys.append(run_key(job.settings))
        except (ModelError, TaskError) as error:
            found.append(str(error))
    if found:
        return refuse(found)
    if dry_run:
        return preview(jobs, keys)
    return run_jobs(jobs, keys, words)


def saved_jobs(jobs: list[Job], keys: list[str]) -> list[dict[str, object]]:
    """Jobs as a sweep list holds them."""
    return [{"run_key": key, "overrides": list(job.words)} for job, key in zip(jobs, keys, strict=True)]


def preview(jobs: list[Job], keys: list[str]) -> int:
    """Print which jobs are done, missing or failed, and what the rest should cost."""
    from ffbench.runs.status import estimate_cost, jobs_status
    from ffbench.runs.store import RunStore

    settings = jobs[0].settings
    store = RunStore(settings.output_dir)
    status = jobs_status(store, "dry run", saved_jobs(jobs, keys))
    print("\n".join(status.lines()))
    left = len(jobs) - status.counts["done"]
    print(estimate_cost(store, left, settings.model.name).line())
    return 0


def run_jobs(jobs: list[Job], keys: list[str], words: list[str]) -> int:
    """Run every job in turn; one that fails stops no other. The table of what is done comes last."""
    from ffbench.cli.summary import finish
    from ffbench.runs.files import StoreError
    from ffbench.runs.store import RunStore
    from ffbench.stages.pipeline import execute

    output_dir, name = jobs[0].settings.output_dir, sweep_name(words)
    failures: list[str] = []
    try:
        if name:
            RunStore(output_dir).save_sweep(name, saved_jobs(jobs, keys))
    except StoreError as error:
        return refuse([f"output_dir: {error}"])
    for number, (job, key) in enumerate(zip(jobs, keys, strict=True), 1):
        say(f"[{number}/{len(jobs)}] {' '.join(job.words) or 'defaults'} -> {output_dir}/runs/{key}")
        try:
            execute(job.settings, ["python", "-m", "ffbench", *words])
        except Exception as error:  # noqa: BLE001 - reported below with its run; the other jobs go on
            failures.append(f"{key} ({' '.join(job.words)}): {type(error).__name__}: {error}")
            say(f"failed: {failures[-1]}")
    finish(output_dir, keys, name)
    for line in failures:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if failures else 0


def say(text: str) -> None:
    """Print one line to stderr at once."""
    print(text, file=sys.stderr, flush=True)
