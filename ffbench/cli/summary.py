"""What a user sees at the end of a run or sweep: the table of `report`, and a picture."""

import shlex
import sys
from pathlib import Path

from ffbench.cli.compose import Job
from ffbench.cli.launchers import Failure
from ffbench.cli.pictures import draw_sweep, warn_missing
from ffbench.runs.store import RunStore

TASK_ROWS = 30  # of the table of tasks at the end of a run; more are in `report --by task`


def finish(output_dir: str, keys: list[str], name: str | None) -> None:
    """Print the table of the finished runs; draw them if there are several."""
    store = RunStore(output_dir)
    done = [key for key in dict.fromkeys(keys) if store.folder(key).state().state == "done"]
    if not done:
        return
    print_table(output_dir, done)
    if len(done) > 1:
        draw_sweep(output_dir, done, Path(output_dir) / "plots" / f"{name or 'runs'}.png")


def print_table(output_dir: str, keys: list[str]) -> None:
    """Print what `python -m ffbench report KEYS` prints, the tasks if they fit on a screen, what it
    shows in sentences, and where the time went.
    """
    try:
        from ffanalysis.costs import cost_line
        from ffanalysis.findings import findings
        from ffanalysis.frames import LoadError
        from ffanalysis.report import report, task_rows
        from ffanalysis.run_folders import results
        from ffanalysis.source import Source
    except ImportError as error:
        warn_missing("table", error)
        return
    try:
        source = Source(Path(output_dir), run_keys=keys)
        by_task = task_rows(source, TASK_ROWS)
        costs = cost_line(result.cost for _, result in results(output_dir, keys))
        shown = [report(source), *(["", by_task] if by_task else [])]
        print("\n".join([*shown, *findings(source.runs()), *([costs] if costs else [])]))
    except LoadError as reason:
        print(f"no table: {reason}", file=sys.stderr)


def next_commands(output_dir: str, keys: list[str]) -> str:
    """The command that shows more of what was just run."""
    folder = "" if output_dir == "outputs" else f" --output-dir {shlex.quote(output_dir)}"
    if len(set(keys)) == 2:
        return f"next: python -m ffbench compare{folder} {' '.join(dict.fromkeys(keys))}"
    return f"next: python -m ffbench report{folder} --format html"


def failures(
    output_dir: str, jobs: dict[str, Job], failed: dict[str, Failure], before: int
) -> list[str]:
    """A line per failed job with its folder, overrides and reason, and the totals; nothing if all
    went well.

    Starting again is advised only if it can help.
    """
    if not failed:
        return []
    if all(failure.permanent for failure in failed.values()):
        return [
            *(f"error: {failure.reason}" for failure in dict.fromkeys(failed.values())),
            f"{len(failed)} of {len(jobs)} runs cannot start as they are set, "
            f"{len(jobs) - len(failed)} done, {before} were done before",
        ]
    rows = [
        f"failed: {output_dir}/runs/{key}  {' '.join(jobs[key].overrides) or 'defaults'}\n"
        f"        {failure.reason}"
        for key, failure in failed.items()
    ]
    total = (
        f"{len(failed)} of {len(jobs)} runs failed, {len(jobs) - len(failed)} done, {before} were "
        "done before"
    )
    return [*rows, f"{total}; the same command resumes"]
