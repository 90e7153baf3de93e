"""What a user sees at the end of a run or sweep: the table of `report`, and a picture."""

import sys
from pathlib import Path

from ffbench.cli.compose import Job
from ffbench.cli.pictures import draw_sweep, warn_missing
from ffbench.runs.store import RunStore


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
    """Print what `python -m ffbench report KEYS` prints."""
    try:
        from ffanalysis.frames import LoadError
        from ffanalysis.report import report
        from ffanalysis.source import Source
    except ImportError as error:
        warn_missing("table", error)
        return
    try:
        print(report(Source(Path(output_dir), run_keys=keys)))
    except LoadError as reason:
        print(f"no table: {reason}", file=sys.stderr)


def failures(
    output_dir: str, jobs: dict[str, Job], reasons: dict[str, str], before: int
) -> list[str]:
    """A line per failed job with its folder, overrides and reason, then the totals; empty without
    failures.
    """
    if not reasons:
        return []
    rows = [
        f"failed: {output_dir}/runs/{key}  {' '.join(jobs[key].words) or 'defaults'}\n        {why}"
        for key, why in reasons.items()
    ]
    return [
        *rows,
        (
            f"{len(reasons)} of {len(jobs)} runs failed, {len(jobs) - len(reasons)} finished, "
            f"{before} were finished before; start the same command again to resume"
        ),
    ]
