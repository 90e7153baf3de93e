"""What a launcher runs for each job, in this process or another."""

import os
from dataclasses import dataclass
from typing import Any

from ffbench.cli.cards import claim_card
from ffbench.cli.errors import is_user_error, problems_of
from ffbench.cli.pictures import draw_run
from ffbench.runs.files import StoreError
from ffbench.runs.progress import log_line
from ffbench.settings import RunSettings


@dataclass(frozen=True)
class Failure:
    """Why a job failed. A `permanent` one is bad input: the same command would fail again."""

    reason: str
    permanent: bool = False


def failure_of(error: Exception) -> Failure:
    """An error as a job's failure, as text, since not every error outlives pickling."""
    if is_user_error(error):
        return Failure("; ".join(problems_of(error)), not isinstance(error, StoreError))
    return Failure(f"{type(error).__name__}: {error}")


@dataclass(frozen=True)
class Work:
    """One job: the line that its start prints, and its settings."""

    label: str
    settings: RunSettings


@dataclass(frozen=True)
class Task:
    """Does one job in the working folder `folder`; it reaches other processes by pickling.

    `command` is kept as the run's provenance. `cards` are the cards that the processes of this
    machine share, one each; empty for none.
    """

    command: list[str]
    folder: str
    cards: tuple[str, ...] = ()

    def __call__(self, work: Work) -> Failure | None:
        """Do one run; returns why it failed."""
        from ffbench.experiment.execute import execute

        log_line(work.label)
        try:
            os.chdir(self.folder)
            if self.cards:
                claim_card(work.settings.output_dir, self.cards)
            execute(work.settings, self.command, draw_run)
        except Exception as error:  # noqa: BLE001 - reported by the process that launched the job
            return failure_of(error)
        return None

    def checkpoint(self, work: Work) -> Any:
        """What submitit submits again after Slurm preempted the job, which then resumes."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, work)
