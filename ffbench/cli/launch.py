"""Jobs in this process or on a launcher; one that fails, or dies, stops no other."""

import os
from collections.abc import Mapping
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from ffbench.cli.cards import card_problem, visible_cards
from ffbench.cli.compose import Job, configuration
from ffbench.cli.launchers import Died, Failure, Launcher, LauncherError, Outcome, Task, Work
from ffbench.cli.launchers.settings import PREFIX
from ffbench.cli.launchers.task import failure_of
from ffbench.cli.pictures import draw_run
from ffbench.runs.progress import log_line
from ffbench.runs.store import RunStore
from ffbench.tracking.watched import Watcher

HERE = "basic"


def labels_of(jobs: Mapping[str, Job], output_dir: str) -> list[str]:
    """The line that each job's start prints."""
    return [
        f"[{number}/{len(jobs)}] {' '.join(job.overrides) or 'defaults'} -> {output_dir}/runs/{key}"
        for number, (key, job) in enumerate(jobs.items(), 1)
    ]


def launched(
    overrides: list[str],
    jobs: dict[str, Job],
    command: list[str],
    labels: list[str] | None = None,
    watch: Watcher | None = None,
) -> dict[str, Failure]:
    """Run every job, by run key, on the launcher that `overrides` choose; returns the failures.

    `labels` replaces the lines that the jobs' starts print. `watch` gets what a job in this process
    logs.

    Raises:
        LauncherError: no job can be started.

    """
    output_dir = next(iter(jobs.values())).settings.output_dir
    work = {
        key: Work(label, job.settings)
        for label, (key, job) in zip(
            labels or labels_of(jobs, output_dir), jobs.items(), strict=True
        )
    }
    with configuration():
        config = compose("config", overrides=overrides, return_hydra_config=True)
        # not the word after `launcher=`, which may be a file of the user's own
        name = config.hydra.runtime.choices["hydra/launcher"].removeprefix(PREFIX)
        if name == HERE:
            return run_here(work, command, watch)
        config.output_dir = output_dir
        settings = launcher_settings(config)
    cards = tuple(visible_cards(jobs.values())) if name == "joblib" else ()
    if problem := card_problem(cards, settings.get("n_jobs")):
        raise LauncherError(problem)
    rounds = Rounds(
        launcher_of(name, settings), Task(command, os.getcwd(), cards), work, RunStore(output_dir)
    )
    if name == "slurm":
        rounds.array(list(work))
    else:
        rounds.all(list(work))
    return rounds.failures


def launcher_settings(config: DictConfig) -> dict[str, Any]:
    """The settings under `hydra.launcher`, with what they refer to filled in."""
    settings: dict[str, Any] = OmegaConf.to_container(config.hydra.launcher, resolve=True)  # type: ignore[assignment]
    return settings


def launcher_of(name: str, settings: dict[str, Any]) -> Launcher:
    """The launcher of a `launcher=` word. Raises LauncherError if it cannot work here."""
    if name == "joblib":
        from ffbench.cli.launchers.processes import LocalProcesses

        return LocalProcesses(settings["n_jobs"])
    if name == "slurm":
        from ffbench.cli.launchers.slurm import SlurmArray, check_slurm

        check_slurm()
        return SlurmArray(settings)
    if name == "ray":
        from ffbench.cli.launchers.ray import RayTasks

        return RayTasks(settings["ray"]["init"], settings["ray"]["remote"])
    raise LauncherError(
        f"launcher: hydra/launcher is {name!r}; a file of your own must start from "
        "`defaults: [joblib]`, or slurm or ray"
    )


def run_here(
    jobs: Mapping[str, Work], command: list[str], watch: Watcher | None = None
) -> dict[str, Failure]:
    """Run the jobs one after the other in this process, as they were composed."""
    from ffbench.experiment.execute import execute

    failures = {}
    for key, job in jobs.items():
        log_line(job.label)
        try:
            execute(job.settings, command, draw_run, watch)
        except Exception as error:  # noqa: BLE001 - the other jobs run all the same
            failures[key] = failure_of(error)
    return failures


class Rounds:
    """Launches of one sweep: after a worker process died, what it took down with it is launched
    again.
    """

    def __init__(
        self, launcher: Launcher, task: Task, work: Mapping[str, Work], store: RunStore
    ) -> None:
        self._launcher, self._task, self._work, self._store = launcher, task, work, store
        self.failures: dict[str, Failure] = {}

    def all(self, keys: list[str]) -> None:
        """Launch jobs together until each ran; a job whose worker died is started once more, alone.

        One dead process takes down all of loky's, including those whose jobs did nothing wrong.
        """
        while keys:
            died = self._launch(keys)
            open_keys = [key for key in died if self._state(key).state != "done"]
            begun = [key for key in open_keys if self._state(key).state in ("failed", "running")]
            for key in begun:
                reason = self._state(key).reason
                if self._state(key).interrupted or reason is None:
                    again = self._launch([key])
                    reason = f"its process died twice: {again[key].reason}" if again else None
                if reason:
                    self.failures[key] = Failure(reason)
            rest = [key for key in open_keys if key not in begun]
            if not begun:
                self.failures |= {key: Failure(died[key].reason) for key in rest}
                return
            keys = rest

    def array(self, keys: list[str]) -> None:
        """Launch jobs as one Slurm array, whose jobs die alone; none is started again."""
        outcomes = self._outcomes(keys)
        for key, outcome in outcomes.items():
            state = self._state(key)
            if state.state == "done":
                continue
            if isinstance(outcome, Failure):
                self.failures[key] = outcome
            else:
                self.failures[key] = Failure(state.reason or f"its run is {state.state}")

    def _launch(self, keys: list[str]) -> dict[str, Died]:
        """Launch jobs and keep their failures; returns the jobs whose process died."""
        outcomes = self._outcomes(keys)
        self.failures |= {
            key: outcome for key, outcome in outcomes.items() if isinstance(outcome, Failure)
        }
        return {key: outcome for key, outcome in outcomes.items() if isinstance(outcome, Died)}

    def _outcomes(self, keys: list[str]) -> dict[str, Outcome]:
        return self._launcher.run(self._task, {key: self._work[key] for key in keys})

    def _state(self, key: str) -> Any:
        return self._store.folder(key).state()
