"""`launcher=slurm`: one Slurm array per sweep, sent by submitit."""

import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from ffbench.cli.launchers import Failure, LauncherError, Outcome, Task, Work
from ffbench.error_text import first_line

TOOLS = ("sbatch", "squeue", "sacct")
ACCOUNTING = ["sacct", "-nX", "--starttime", "now-1minute"]
# what submitit calls by the same name for every cluster; the rest are Slurm's own
COMMON = ("name", "timeout_min", "cpus_per_task", "mem_gb", "gpus_per_node", "stderr_to_stdout")
INITIAL = ("submitit_folder", "max_num_timeout")


def check_slurm() -> None:
    """Find out before any job is sent whether Slurm is here.

    Raises:
        LauncherError: no Slurm commands, or no accounting.

    """
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise LauncherError(
            f"launcher: slurm needs {', '.join(missing)}, which are not on this machine's PATH; "
            "start the sweep on a login node, or choose launcher=joblib"
        )
    done = subprocess.run(ACCOUNTING, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise LauncherError(
            "launcher: Slurm accounting (slurmdbd) is required: without it FFBench cannot notice "
            "cancelled jobs and would wait forever; sacct answered: "
            f"{done.stderr.strip() or done.returncode}"
        )


def parameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as submitit names them; what is null is left to the cluster."""
    return {
        name if name in COMMON else f"slurm_{name}": value
        for name, value in settings.items()
        if name not in INITIAL and value is not None
    }


class SlurmArray:
    """Jobs as one array; `settings` are those of `SlurmSettings`."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings

    def run(self, task: Task, jobs: Mapping[str, Work]) -> dict[str, Outcome]:
        """Send the array and wait for each of its jobs, also after one was cancelled or died.

        Raises:
            LauncherError: Slurm took no job, for example since no node has the cards asked for.

        """
        import submitit

        executor = submitit.AutoExecutor(
            folder=self._settings["submitit_folder"],
            cluster="slurm",
            slurm_max_num_timeout=self._settings["max_num_timeout"],
        )
        try:
            executor.update_parameters(**parameters(self._settings))
            sent = executor.map_array(task, list(jobs.values()))
        except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:
            raise LauncherError(f"launcher: Slurm took no job: {last_line(error)}") from error
        return {key: ending(job) for key, job in zip(jobs, sent, strict=True)}


def ending(job: Any) -> Failure | None:
    """Why a job of the array failed, waited for; None if it did not."""
    job.wait()
    if not job.paths.result_pickle.exists():
        return Failure(f"Slurm job {job.job_id} ended as {job.state}; its log: {job.paths.stderr}")
    try:
        result: Failure | None = job.result()
    except Exception as error:  # noqa: BLE001 - what the job's process raised, as text
        return Failure(f"Slurm job {job.job_id} failed: {last_line(error)}")
    return result


def last_line(error: BaseException) -> str:
    """Last line of an error's text: sbatch's own words, or those of a remote traceback."""
    return (str(error).strip() or first_line(error)).splitlines()[-1].strip()
