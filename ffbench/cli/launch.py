"""Jobs in this process or on a Hydra launcher; one that fails, or dies, stops no other."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig

from ffbench.cli.cards import card_problem, claim_card, visible_cards
from ffbench.cli.compose import Job, configuration, job_settings
from ffbench.cli.errors import is_user_error, problems_of
from ffbench.cli.launchers import (
    Failure,
    LauncherError,
    array_endings,
    check,
    first_line,
    names_in,
    release,
)
from ffbench.cli.pictures import draw_run
from ffbench.runs.files import StoreError
from ffbench.runs.progress import log_line
from ffbench.runs.store import RunStore

HERE = ("local", "basic")


def failure_of(error: Exception) -> Failure:
    """An error as a job's failure, as text, since not every error outlives pickling."""
    if is_user_error(error):
        return Failure("; ".join(problems_of(error)), not isinstance(error, StoreError))
    return Failure(f"{type(error).__name__}: {error}")


class NoCallbacks:
    """Hydra's callbacks for launchers: none."""

    def on_job_start(self, **_: object) -> None:
        """Do nothing."""

    def on_job_end(self, **_: object) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Task:
    """What a launcher runs for each job, in this process or another; it gets there by pickling.

    `cards` are the cards that the processes of this machine share, one each; empty for none.
    """

    command: list[str]
    labels: list[str]
    folder: str
    cards: tuple[str, ...] = ()

    def __call__(self, config: DictConfig) -> Failure | None:
        """Do one run; returns why it failed."""
        from ffbench.experiment.execute import execute

        log_line(self.labels[HydraConfig.get().job.num])
        try:
            os.chdir(self.folder)
            settings = job_settings(config)
            if self.cards:
                claim_card(settings.output_dir, self.cards)
            execute(settings, self.command, draw_run)
        except Exception as error:  # noqa: BLE001 - reported by the process that launched the job
            return failure_of(error)
        return None


def launched(overrides: list[str], jobs: dict[str, Job], command: list[str]) -> dict[str, Failure]:
    """Run every job, by run key, on the launcher that `overrides` choose; returns the failures.

    Raises:
        LauncherError: no job can be started.

    """
    output_dir = next(iter(jobs.values())).settings.output_dir
    labels = [
        f"[{number}/{len(jobs)}] {' '.join(job.overrides) or 'defaults'} -> {output_dir}/runs/{key}"
        for number, (key, job) in enumerate(jobs.items(), 1)
    ]
    with configuration():
        config = compose("config", overrides=overrides, return_hydra_config=True)
        name = config.hydra.runtime.choices.launcher
        if name in HERE:
            return run_here(jobs, labels, command)
        config.output_dir = output_dir
        check(name, config)
        cards = tuple(visible_cards(jobs.values())) if name == "joblib" else ()
        if problem := card_problem(cards, config.hydra.launcher.get("n_jobs")):
            raise LauncherError(problem)
        chosen = [text for text in overrides if text.partition("=")[0] == "launcher"]
        rounds = Rounds(
            config,
            Task(command, labels, os.getcwd(), cards),
            list(jobs),
            RunStore(output_dir),
            {key: [*chosen, *job.overrides] for key, job in jobs.items()},
        )
        if name == "slurm":
            rounds.array(list(jobs))
        else:
            rounds.all(list(jobs))
        return rounds.failures


def run_here(jobs: dict[str, Job], labels: list[str], command: list[str]) -> dict[str, Failure]:
    """Run the jobs one after the other in this process, as they were composed."""
    from ffbench.experiment.execute import execute

    failures = {}
    for label, (key, job) in zip(labels, jobs.items(), strict=True):
        log_line(label)
        try:
            execute(job.settings, command, draw_run)
        except Exception as error:  # noqa: BLE001 - the other jobs run all the same
            failures[key] = failure_of(error)
    return failures


class Rounds:
    """Launches of one sweep: after a worker process died, what it took down with it is launched
    again.
    """

    def __init__(
        self,
        config: DictConfig,
        task: Task,
        keys: list[str],
        store: RunStore,
        overrides: dict[str, list[str]],
    ) -> None:
        self._config, self._task, self._keys, self._store, self._overrides = (
            config,
            task,
            keys,
            store,
            overrides,
        )
        self.failures: dict[str, Failure] = {}

    def all(self, keys: list[str]) -> None:
        """Launch jobs together until each ran; a job whose worker died is started once more, alone.

        One dead process takes down the whole joblib pool, or all of this client's Ray jobs,
        including jobs that did nothing wrong.
        """
        while keys:
            died = self._launch(keys)
            if died is None:
                return
            release()
            open_keys = [
                key for key in keys if key not in self.failures and self._state(key).state != "done"
            ]
            begun = [key for key in open_keys if self._state(key).state in ("failed", "running")]
            for key in begun:
                reason = self._state(key).reason
                if self._state(key).interrupted or reason is None:
                    died_alone = self._launch([key])
                    reason = died_alone and f"its process died twice: {died_alone}"
                    release()
                if reason:
                    self.failures[key] = Failure(reason)
            rest = [key for key in open_keys if key not in begun]
            if not begun:
                self.failures |= dict.fromkeys(rest, Failure(died))
                return
            keys = rest

    def array(self, keys: list[str]) -> None:
        """Launch jobs as one Slurm array and wait for each, also after one was cancelled or
        died.
        """
        logs = Path(str(self._config.hydra.launcher.submitit_folder)).parent
        before = set(names_in(logs))
        died = self._launch(keys)
        if died is None:
            return
        endings = array_endings(logs, [name for name in names_in(logs) if name not in before])
        if not endings:
            raise LauncherError(f"launcher: Slurm took no job: {died}")
        for number, key in enumerate(keys):
            state = self._state(key)
            if state.state != "done":
                self.failures[key] = endings.get(number) or Failure(
                    state.reason or f"its run is {state.state}"
                )

    def _launch(self, keys: list[str]) -> str | None:
        """Launch jobs; keeps their failures. Returns why the launcher gave up,
        else None.
        """
        launcher = self._launcher(keys)
        try:
            returns = launcher.launch([self._overrides[key] for key in keys], initial_job_idx=0)
        except Exception as error:  # noqa: BLE001 - launchers raise their own kinds when a process dies
            return f"{type(error).__name__}: {first_line(error)}"
        for key, returned in zip(keys, returns, strict=True):
            if returned.return_value is not None:
                self.failures[key] = returned.return_value
        return None

    def _launcher(self, keys: list[str]) -> Launcher:
        loader = GlobalHydra.instance().config_loader()
        labels = [self._task.labels[self._keys.index(key)] for key in keys]
        return Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(
                config_loader=loader,
                callbacks=NoCallbacks(),  # type: ignore[arg-type]
            ),
            config=self._config,
            task_function=replace(self._task, labels=labels),
        )

    def _state(self, key: str) -> Any:
        return self._store.folder(key).state()
