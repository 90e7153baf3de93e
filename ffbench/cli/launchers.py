"""What Slurm and Ray need before and after their jobs."""

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

JOB_ID = re.compile(r"\d+(_\d+)?")
CONNECT_SECONDS = 5.0
ACCOUNTING = ["sacct", "-nX", "--starttime", "now-1minute"]


class LauncherError(RuntimeError):
    """The launcher cannot start jobs here; the text says what to do."""


@dataclass(frozen=True)
class Failure:
    """Why a job failed. A `permanent` one is bad input: the same command would fail again."""

    reason: str
    permanent: bool = False


def check(name: str, config: DictConfig) -> None:
    """Find out before any job is sent whether the launcher can work here.

    Raises:
        LauncherError: no Slurm commands, no accounting, or no Ray cluster.

    """
    if name == "slurm":
        missing = [tool for tool in ("sbatch", "squeue", "sacct") if shutil.which(tool) is None]
        if missing:
            raise LauncherError(
                f"launcher: slurm needs {', '.join(missing)}, which are not on this machine's "
                "PATH; "
                "start the sweep on a login node, or choose launcher=joblib"
            )
        done = subprocess.run(ACCOUNTING, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise LauncherError(
                "launcher: Slurm accounting (slurmdbd) is required: without it FFBench cannot "
                "notice "
                "cancelled jobs and would wait forever; sacct answered: "
                f"{done.stderr.strip() or done.returncode}"
            )
    if name == "ray" and config.hydra.launcher.ray.init.get("address"):
        connect_ray(config.hydra.launcher.ray.init)


def connect_ray(settings: DictConfig) -> None:
    """Connect to the running cluster. Raises LauncherError if there is none."""
    import ray
    from omegaconf import OmegaConf

    host, _, port = str(settings.address).rpartition("/")[2].rpartition(":")
    try:
        if host and port.isdigit():  # Ray itself keeps trying for minutes
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        ray.init(**OmegaConf.to_container(settings, resolve=True))  # type: ignore[arg-type]
    except (OSError, RuntimeError, ValueError) as error:
        raise LauncherError(
            f"launcher: no Ray cluster at address {settings.address!r} ({first_line(error)}); "
            "start "
            "one with `ray start --head`, or choose hydra.launcher.ray.init.address=null"
        ) from error


def release() -> None:
    """Close a connection to Ray that a launcher left open, with this client's tasks."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()


def names_in(folder: Path) -> list[str]:
    """Names in a folder; none if it does not exist."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def array_endings(logs: Path, names: Sequence[str]) -> dict[int, Failure | None]:
    """Wait for every job of an array (or the only job); by its number why it failed, None if it
    did not.
    """
    import submitit

    endings: dict[int, Failure | None] = {}
    ids = [name for name in names if JOB_ID.fullmatch(name)]
    for name in [job_id for job_id in ids if "_" in job_id] or ids:
        job: submitit.SlurmJob[Any] = submitit.SlurmJob(folder=logs / "%j", job_id=name)
        job.wait()
        number = int(name.partition("_")[2] or 0)
        if job.paths.result_pickle.exists():
            endings[number] = job.result().return_value
        else:
            endings[number] = Failure(
                f"Slurm job {name} ended as {job.state}; its log: {job.paths.stderr}"
            )
    return endings


def first_line(error: BaseException) -> str:
    """First line of an error's text, or its type."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
