"""The live view of a sweep: a bar on a terminal, one line per minute elsewhere, from the run folders
alone.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Self

from tqdm import tqdm

from ffbench.runs.files import StoreError
from ffbench.runs.progress import EVERY_SECONDS, PLAIN, log_line, on_terminal
from ffbench.runs.status import SweepStatus, jobs_status
from ffbench.runs.store import RunStore
from ffbench.runs.sweep_progress import SweepProgress, sweep_progress

POLL_SECONDS = 2.0


def runs_here(overrides: list[str]) -> bool:
    """Whether the launcher that `overrides` choose runs the jobs in this process, one after the
    other.
    """
    chosen = [
        override.partition("=")[2]
        for override in overrides
        if override.partition("=")[0] in ("launcher", "hydra/launcher")
    ]
    return all(name in ("local", "basic") for name in chosen)


@contextmanager
def live_view(
    store: RunStore, name: str, jobs: list[dict[str, Any]], own_process: bool
) -> Iterator[None]:
    """Show how far the jobs are while the block runs them; one job shows its own bars only.

    Jobs that run in other processes (`own_process` False) draw no bars of their own on this
    terminal.
    """
    terminal = on_terminal()
    with nullcontext() if own_process else plain_progress():
        if len(jobs) < 2:
            yield
            return
        ended = threading.Event()
        thread = threading.Thread(
            target=poll, args=(lambda: jobs_status(store, name, jobs), store, ended, terminal)
        )
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@contextmanager
def plain_progress() -> Iterator[None]:
    """Tell this process's children to write lines, no bars."""
    before = os.environ.get(PLAIN)
    os.environ[PLAIN] = "1"
    try:
        yield
    finally:
        os.environ.pop(PLAIN)
        if before is not None:
            os.environ[PLAIN] = before


def poll(
    read: Callable[[], SweepStatus], store: RunStore, ended: threading.Event, terminal: bool
) -> None:
    """Show the state until `ended`; a file that cannot be read just now is read again at the next
    poll.
    """
    with SweepBar() if terminal else nullcontext(MinuteLines()) as view:
        while True:
            try:
                view.show(sweep_progress(store, read()))
            except (StoreError, OSError) as error:
                log_line(f"live view: {error}")
            if ended.wait(POLL_SECONDS):
                return


class SweepBar:
    """One bar for the whole sweep, under which a job's own bars come and go."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, progress: SweepProgress) -> None:
        """Draw the state."""
        if self._bar is None:
            bar_format = "{desc}|{bar}| {n_fmt}/{total_fmt}{postfix}"
            named, jobs = f"{progress.status.name} ", len(progress.status.jobs)
            self._bar = tqdm(
                desc=named, total=jobs, leave=False, dynamic_ncols=True, bar_format=bar_format
            )
        self._bar.n = progress.ended
        self._bar.set_postfix_str(progress.detail())


class MinuteLines:
    """Logs the state in one line per minute; nothing in the first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def show(self, progress: SweepProgress) -> None:
        """Log the state if a minute has passed since the last line."""
        if self._clock() - self._last >= EVERY_SECONDS:
            self._last = self._clock()
            log_line(progress.line())
