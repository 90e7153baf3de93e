"""What reaches loky, submitit and Ray, and what comes back, without a cluster."""

import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ffbench.cli.compose import configuration, jobs_of
from ffbench.cli.launchers import Died, Failure, LauncherError, Task, Work
from ffbench.cli.launchers.processes import THREADS, LocalProcesses, process_count, thread_share
from ffbench.cli.launchers.ray import resource_problem
from ffbench.cli.launchers.settings import PACKAGES, installed
from ffbench.cli.launchers.slurm import SlurmArray, ending, parameters


def settings_of(*words: str) -> dict[str, Any]:
    from hydra import compose

    from ffbench.cli.launch import launcher_settings

    with configuration():
        return launcher_settings(compose("config", overrides=[*words], return_hydra_config=True))


def test_only_installed_packages_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ffbench.cli.launchers.settings.find_spec", lambda name: None)
    assert installed("local") and not any(map(installed, PACKAGES))


@pytest.mark.parametrize(
    ("asked", "jobs", "count"), [(2, 6, 2), (4, 3, 3), (-1, 99, 8), (-2, 99, 7), (-20, 9, 1)]
)
def test_processes(asked: int, jobs: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    loky = pytest.importorskip("loky")
    monkeypatch.setattr(loky, "cpu_count", lambda: 8)
    assert process_count(asked, jobs) == count


def test_no_processes_are_refused() -> None:
    pytest.importorskip("loky")
    with pytest.raises(LauncherError, match="n_jobs=0"):
        process_count(0, 3)


def test_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    loky = pytest.importorskip("loky")
    monkeypatch.setattr(loky, "cpu_count", lambda: 8)
    monkeypatch.delenv(THREADS, raising=False)
    assert thread_share(3) == {THREADS: "2"} and thread_share(20) == {THREADS: "1"}
    monkeypatch.setenv(THREADS, "5")
    assert thread_share(3) == {}


class Deadly(Task):
    """Ends its process at the job that is labelled so."""

    def __call__(self, work: Work) -> Failure | None:
        if work.label == "die":
            os._exit(3)
        return Failure(os.environ[THREADS]) if work.label == "fail" else None


def test_a_dead_process_is_told_from_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("loky")
    monkeypatch.setenv(THREADS, "1")
    work = {name: Work(name, None) for name in ("ok", "fail", "die")}  # type: ignore[arg-type]
    outcomes = LocalProcesses(1).run(Deadly([], "."), work)
    assert outcomes["ok"] is None and outcomes["fail"] == Failure("1")
    assert isinstance(outcomes["die"], Died) and "TerminatedWorkerError" in outcomes["die"].reason


def test_slurm_settings_are_those_that_submitit_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitit = pytest.importorskip("submitit")
    words = ["launcher=slurm", "hydra.launcher.gpus_per_node=2", "hydra.launcher.partition=gpu"]
    settings = settings_of(*words, f"output_dir={tmp_path}")
    assert settings["submitit_folder"] == f"{tmp_path}/launcher/slurm/%j"
    given = parameters(settings)
    assert (given["gpus_per_node"], given["slurm_partition"], given["timeout_min"]) == (
        2,
        "gpu",
        240,
    )
    assert "slurm_account" not in given and "submitit_folder" not in given
    # every setting that there is, against the list of the installed submitit
    every = {name: value if value is not None else "1" for name, value in settings.items()}
    every |= {name: 1 for name in ("cpus_per_gpu", "gpus_per_task")} | {"setup": ["true"]}
    monkeypatch.setattr(submitit.slurm.slurm.shutil, "which", lambda name: f"/bin/{name}")
    executor = submitit.AutoExecutor(folder=tmp_path, cluster="slurm", slurm_max_num_timeout=0)
    executor.update_parameters(**parameters(every))


def test_what_slurm_says_is_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(
        "#!/bin/sh\necho 'sbatch: error: Requested node configuration is not available' >&2\nexit 1\n"
    )
    sbatch.chmod(0o755)
    for name in ("srun", "squeue", "sacct"):
        (tmp_path / name).symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    settings = settings_of(
        "launcher=slurm", "hydra.launcher.gpus_per_node=8", f"output_dir={tmp_path}"
    )
    work = {key: Work("", None) for key in "ab"}  # type: ignore[arg-type]
    with pytest.raises(LauncherError, match="took no job: .*node configuration is not available"):
        SlurmArray(settings).run(Task([], "."), work)


class SlurmJob:
    """A job of an array that has ended."""

    job_id, state = "7_1", "CANCELLED"

    def __init__(self, folder: Path, result: Any) -> None:
        self.paths = SimpleNamespace(result_pickle=folder / "result", stderr=folder / "err")
        self._result, self.waited = result, False
        if result != "nothing":
            self.paths.result_pickle.touch()

    def wait(self) -> None:
        self.waited = True

    def result(self) -> Any:
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (None, None),
        (Failure("disk full"), "disk full"),
        ("nothing", "Slurm job 7_1 ended as CANCELLED; its log: "),
        (
            RuntimeError("job failed\nTraceback\nSystemExit: 3"),
            "Slurm job 7_1 failed: SystemExit: 3",
        ),
    ],
)
def test_endings_of_slurm_jobs(result: Any, reason: str | None, tmp_path: Path) -> None:
    job = SlurmJob(tmp_path, result)
    found = ending(job)
    assert job.waited and (found is None if reason is None else found.reason.startswith(reason))


def test_a_preempted_job_is_submitted_again(tmp_path: Path) -> None:
    submitit = pytest.importorskip("submitit")
    task, work = Task(["x"], "."), Work("a", None)  # type: ignore[arg-type]
    again = task.checkpoint(work)
    assert isinstance(again, submitit.helpers.DelayedSubmission)
    assert again.function == task and again.args == (work,)


NODES = [
    {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}},
    {"Alive": True, "Resources": {"CPU": 64.0}},
    {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
]


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"num_gpus": 2, "num_cpus": 8}, None),
        ({}, None),
        ({"num_cpus": 64, "num_gpus": 0}, None),
        (
            {"num_gpus": 4},
            "needs 4 GPU, 0 CPU on one node of the Ray cluster, and its largest nodes have 2 GPU",
        ),
        ({"num_gpus": 1, "num_cpus": 16}, "needs 1 GPU, 16 CPU"),
    ],
)
def test_more_than_any_ray_node_has_is_refused(asked: dict[str, Any], text: str | None) -> None:
    problem = resource_problem(NODES, asked)
    assert (problem is None) == (text is None) and (text is None or text in str(problem))


def test_settings_of_a_job_reach_another_process_unchanged() -> None:
    (job,) = jobs_of(["model=tiny_llama", "selector=static", "speed.lengths=[256,512]"])
    work = Work("label", job.settings)
    # launchers pickle what they send to a process; no file of ours is ever unpickled
    assert pickle.loads(pickle.dumps(work)) == work


def test_a_launcher_file_of_ones_own_starts_from_ours(tmp_path: Path) -> None:
    (tmp_path / "launcher").mkdir()
    (tmp_path / "launcher" / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [joblib]\nhydra: {launcher: {n_jobs: 5}}\n"
    )
    search = f"hydra.searchpath=['file://{tmp_path}']"
    assert settings_of(search, "launcher=mine") == {"n_jobs": 5}
