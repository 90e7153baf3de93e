"""`python -m ffbench status`: which runs of each sweep are done."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from typing import TYPE_CHECKING

from ffbench.cli.errors import DONE, FAILED, refuse
from ffbench.cli.live import POLL_SECONDS
from ffbench.cli.options import Parser
from ffbench.runs.progress import EVERY_SECONDS

if TYPE_CHECKING:
    from ffbench.runs.status import SweepStatus
    from ffbench.runs.store import RunStore
    from ffbench.runs.sweep_progress import SweepProgress

CLEAR = "\x1b[H\x1b[J"


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line's options."""
    parser = Parser("status", __doc__)
    parser.add_argument("sweep", nargs="?", help="name of one sweep; all if none is given")
    parser.add_argument(
        "--watch",
        action="store_true",
        help="follow one sweep (the newest if none is named) until it is over: redrawn on a "
        "terminal, one line per minute elsewhere",
    )
    return parser.parse(arguments)


def main(arguments: list[str]) -> int:
    """Print the state of every job; 0 when all is done or under way, 1 when a job failed, 2 for bad
    input.
    """
    from ffbench.runs.status import all_status, sweep_status
    from ffbench.runs.store import RunStore

    options = parse(arguments)
    store = RunStore(options.output_dir)
    try:
        if options.watch:
            shown = [watch(store, options.sweep or newest(store))]
        else:
            shown = [sweep_status(store, options.sweep)] if options.sweep else all_status(store)
            for status in shown:
                print("\n".join(status.lines()))
    except ValueError as error:
        return refuse([str(error)])
    if not shown:
        print(
            f"no runs in {options.output_dir}; start some with: python -m ffbench +sweep=sparsity"
        )
    return FAILED if any(status.failures for status in shown) else DONE


def newest(store: RunStore) -> str:
    """Name of the sweep that was started last. Raises ValueError if there is none."""
    sweeps = store.sweeps()
    if not sweeps:
        raise ValueError(
            f"--watch: no sweep in {store.output_dir}; start one with: python -m ffbench "
            "+sweep=sparsity"
        )
    return str(max(sweeps, key=lambda sweep: sweep["created"])["name"])


def watch(store: RunStore, name: str) -> SweepStatus:
    """Show a sweep until no job of it is missing or running; returns its last state."""
    from ffbench.runs.status import sweep_status
    from ffbench.runs.sweep_progress import sweep_progress

    terminal, last = sys.stdout.isatty(), -EVERY_SECONDS
    while True:
        progress = sweep_progress(store, sweep_status(store, name))
        if terminal:
            print(CLEAR + "\n".join(screen(progress, shutil.get_terminal_size().lines)), flush=True)
        elif time.monotonic() - last >= EVERY_SECONDS and not progress.over:
            last = time.monotonic()
            print(progress.line(), flush=True)
        if progress.over:
            if not terminal:
                print("\n".join(progress.status.lines()), flush=True)
            return progress.status
        time.sleep(POLL_SECONDS)


def screen(progress: SweepProgress, height: int) -> list[str]:
    """What fits on a terminal: the jobs, those that run or failed first if not all fit, and the
    state.
    """
    lines = progress.status.lines()[:-1]
    room = max(1, height - 3)
    if len(lines) > room:
        order = {"running": 0, "failed": 1, "missing": 2, "done": 3}
        ranked = sorted(
            zip(progress.status.jobs, lines, strict=True), key=lambda pair: order[pair[0].state]
        )
        lines = [line for _, line in ranked[: room - 1]] + [f"... and {len(lines) - room + 1} more"]
    return [*lines, progress.line()]
