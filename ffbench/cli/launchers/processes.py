"""`launcher=joblib`: several processes of this machine, kept alive by loky between jobs."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager

from ffbench.cli.launchers import Died, Failure, LauncherError, Outcome, Task, Work
from ffbench.error_text import first_line

THREADS = "OMP_NUM_THREADS"
WARNINGS = "PYTHONWARNINGS"
# loky's tracker warns of the semaphores of processes that were killed, after it removed them
QUIET_TRACKER = "ignore:resource_tracker"


def process_count(asked: int, jobs: int) -> int:
    """Processes for `jobs` jobs; as joblib counts, -1 is one per core and -2 leaves one core free.

    Raises:
        LauncherError: 0 processes are asked for.

    """
    from loky import cpu_count

    if asked == 0:
        raise LauncherError(
            "launcher: hydra.launcher.n_jobs=0 runs nothing; choose 1 or more, or -1"
        )
    return max(1, min(asked if asked > 0 else cpu_count() + 1 + asked, jobs))


def thread_share(processes: int) -> dict[str, str]:
    """A share of the cores for each process, unless the environment says how many threads."""
    from loky import cpu_count

    if THREADS in os.environ:
        return {}
    return {THREADS: str(max(1, cpu_count() // processes))}


@contextmanager
def quiet_tracker() -> Iterator[None]:
    """A tracker that is started inside does not tell of what killed processes left."""
    before = os.environ.get(WARNINGS)
    os.environ[WARNINGS] = f"{before},{QUIET_TRACKER}" if before else QUIET_TRACKER
    try:
        yield
    finally:
        if before is None:
            del os.environ[WARNINGS]
        else:
            os.environ[WARNINGS] = before


class LocalProcesses:
    """Up to `count` processes. When one dies, loky ends them all: every job that is not over died
    with it.
    """

    def __init__(self, count: int) -> None:
        self._count = count

    def run(self, task: Task, jobs: Mapping[str, Work]) -> dict[str, Outcome]:
        """The outcomes; an interrupt kills the processes, whose runs can be resumed."""
        from loky import ProcessPoolExecutor

        processes = process_count(self._count, len(jobs))
        with quiet_tracker():
            executor = ProcessPoolExecutor(max_workers=processes, env=thread_share(processes))
        over = False
        try:
            futures = {key: executor.submit(task, work) for key, work in jobs.items()}
            outcomes = {key: outcome_of(future) for key, future in futures.items()}
            over = True
        finally:
            executor.shutdown(wait=True, kill_workers=not over)
        return outcomes


def outcome_of(future: "Future[Failure | None]") -> Outcome:
    """What became of one job, waited for."""
    try:
        return future.result()
    except Exception as error:  # noqa: BLE001 - loky has an error of its own for each way to die
        return Died(f"{type(error).__name__}: {first_line(error)}")
