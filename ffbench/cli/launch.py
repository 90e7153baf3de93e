"""Jobs on the chosen Hydra launcher; one that fails, or whose process dies, stops no other."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig

from ffbench.cli.compose import Job, configuration, settings_of
from ffbench.cli.pictures import draw_run
from ffbench.runs.progress import say
from ffbench.runs.store import RunStore

JOB_ID = re.compile(r"\d+(_\d+)?")
CONNECT_SECONDS = 5.0
ACCOUNTING = ["sacct", "-nX", "--starttime", "now-1minute"]


class LauncherError(RuntimeError):
    """The launcher cannot start jobs here; the text says what to do."""


@dataclass(frozen=True)
class Task:
    """What a launcher runs for each job, in this process or another; it gets there by pickling."""

    command: list[str]
    labels: list[str]
    folder: str

    def __call__(self, config: DictConfig) -> str | None:
        """Do one run; returns why it failed, as text, since not every error outlives pickling."""
        from ffbench.experiment.pipeline import execute

        say(self.labels[HydraConfig.get().job.num])
        try:
            os.chdir(self.folder)
            execute(settings_of(config), self.command, draw_run)
        except Exception as error:  # noqa: BLE001 - reported by the process that launched the job
            return f"{type(error).__name__}: {error}"
        return None


def launched(words: list[str], jobs: dict[str, Job], command: list[str]) -> dict[str, str]:
    """Run every job, by run key, on the launcher that `words` choose; returns the reason of each
    that failed.

    Raises:
        LauncherError: no job can be started.

    """
    with configuration():
        config = compose("config", overrides=words, return_hydra_config=True)
        config.output_dir = output_dir = next(iter(jobs.values())).settings.output_dir
        name = config.hydra.runtime.choices.launcher
        check(name, config)
        labels = [
            f"[{number}/{len(jobs)}] {' '.join(job.words) or 'defaults'} -> {output_dir}/runs/{key}"
            for number, (key, job) in enumerate(jobs.items(), 1)
        ]
        chosen = [word for word in words if word.partition("=")[0] == "launcher"]
        rounds = Rounds(
            config,
            Task(command, labels, os.getcwd()),
            list(jobs),
            RunStore(output_dir),
            {key: [*chosen, *job.words] for key, job in jobs.items()},
        )
        if name == "slurm":
            rounds.array(list(jobs))
        else:
            rounds.all(list(jobs))
        return rounds.reasons


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
        self.reasons: dict[str, str] = {}

    def all(self, keys: list[str]) -> None:
        """Launch jobs together until each ran; a job whose worker died goes once more, alone.

        The death of one process ends a joblib pool, or this client's jobs on Ray, whoever's fault
        it was.
        """
        while keys:
            died = self._launch(keys)
            if died is None:
                return
            release()
            left = [
                key for key in keys if key not in self.reasons and self._state(key).state != "done"
            ]
            begun = [key for key in left if self._state(key).state in ("failed", "running")]
            for key in begun:
                reason = self._state(key).reason
                if self._state(key).interrupted or reason is None:
                    died_alone = self._launch([key])
                    reason = died_alone and f"its process died twice: {died_alone}"
                    release()
                if reason:
                    self.reasons[key] = reason
            rest = [key for key in left if key not in begun]
            if not begun:
                self.reasons |= dict.fromkeys(rest, died)
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
                self.reasons[key] = (
                    endings.get(number) or state.reason or f"its run is {state.state}"
                )

    def _launch(self, keys: list[str]) -> str | None:
        """Launch jobs; keeps the reasons of those that failed. Returns why the launcher gave up,
        else None.
        """
        launcher = self._launcher(keys)
        try:
            returns = launcher.launch([self._overrides[key] for key in keys], initial_job_idx=0)
        except Exception as error:  # noqa: BLE001 - launchers raise their own kinds when a process dies
            return f"{type(error).__name__}: {first_line(error)}"
        for key, one in zip(keys, returns, strict=True):
            reason = one.return_value
            if reason:
                self.reasons[key] = reason
        return None

    def _launcher(self, keys: list[str]) -> Launcher:
        loader = GlobalHydra.instance().config_loader()
        labels = [self._task.labels[self._keys.index(key)] for key in keys]
        return Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(config_loader=loader, callbacks=Callbacks()),
            config=self._config,
            task_function=Task(self._task.command, labels, self._task.folder),
        )

    def _state(self, key: str) -> Any:
        return self._store.folder(key).state()


def check(name: str, config: DictConfig) -> None:
    """Find out before any job is sent whether the launcher can work here.

    Raises:
        LauncherError: no Slurm commands, no accounting, or no Ray cluster.

    """
    if name == "slurm":
        missing = [tool for tool in ("sbatch", "squeue", "sacct") if shutil.which(tool) is None]
        if missing:
            raise LauncherError(
                f"launcher: slurm needs {', '.join(missing)}, which are not on this machine's PATH; "
                "start the sweep on a login node, or choose launcher=joblib"
            )
        done = subprocess.run(ACCOUNTING, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise LauncherError(
                f"launcher: slurm needs accounting (slurmdbd), since without it a cancelled job is "
                f"waited for without end; sacct says: {done.stderr.strip() or done.returncode}"
            )
    if name == "ray" and config.hydra.launcher.ray.init.get("address"):
        connect_ray(config.hydra.launcher.ray.init)


def connect_ray(settings: DictConfig) -> None:
    """Connect to the running cluster. Raises LauncherError where there is none."""
    import ray
    from omegaconf import OmegaConf

    host, _, port = str(settings.address).rpartition("/")[2].rpartition(":")
    try:
        if host and port.isdigit():  # Ray itself goes on trying for minutes
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        ray.init(**OmegaConf.to_container(settings, resolve=True))  # type: ignore[arg-type]
    except (OSError, RuntimeError, ValueError) as error:
        raise LauncherError(
            f"launcher: no Ray cluster at address {settings.address!r} ({first_line(error)}); start "
            "one with `ray start --head`, or choose hydra.launcher.ray.init.address=null"
        ) from error


def release() -> None:
    """Let go of what a launcher left behind: a connection to Ray, with this client's tasks."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()


def names_in(folder: Path) -> list[str]:
    """Names in a folder; none where it is not there."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def array_endings(logs: Path, names: Sequence[str]) -> dict[int, str | None]:
    """Wait for every job of an array (or the only job); by its number why it failed, None where it
    did not.
    """
    import submitit

    endings: dict[int, str | None] = {}
    ids = [name for name in names if JOB_ID.fullmatch(name)]
    for name in [one for one in ids if "_" in one] or ids:
        job: submitit.SlurmJob[Any] = submitit.SlurmJob(folder=logs / "%j", job_id=name)
        job.wait()
        number = int(name.partition("_")[2] or 0)
        if job.paths.result_pickle.exists():
            endings[number] = job.result().return_value
        else:
            endings[number] = f"Slurm job {name} ended as {job.state}; its log: {job.paths.stderr}"
    return endings


def first_line(error: BaseException) -> str:
    """First line of an error's text, or its type."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
