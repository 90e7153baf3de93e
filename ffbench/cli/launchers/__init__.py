"""Where the jobs of a sweep run: this process, loky's processes, a Slurm array, or a Ray cluster.

A launcher takes jobs by run key and returns what became of each; it reports a job whose process
died, and does not start it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ffbench.cli.launchers.task import Failure, Task, Work

__all__ = ["Died", "Failure", "Launcher", "LauncherError", "Outcome", "Task", "Work"]


class LauncherError(RuntimeError):
    """The launcher cannot start jobs here; the text says what to do."""


@dataclass(frozen=True)
class Died:
    """The process of a job ended before the job did."""

    reason: str


# None: the job was done
Outcome = Failure | Died | None


class Launcher(Protocol):
    """One way to run jobs in other processes."""

    def run(self, task: Task, jobs: Mapping[str, Work]) -> dict[str, Outcome]:
        """Run the jobs and wait for all of them; the outcome of each by run key.

        Raises:
            LauncherError: no job can be started.

        """
