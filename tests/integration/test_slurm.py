"""A real Slurm cluster on this machine (`make test-slurm`, root): sweep, cancelled job, resume."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from launching import REPOSITORY, check_done, job_run, run_app, start_app, wait_until

from ffbench.runs.store import INTERRUPTED

pytestmark = pytest.mark.skipif(os.environ.get("FFBENCH_TEST_SLURM") != "1",
                                reason="starts Slurm's daemons as root: make test-slurm")
SLURM = ["launcher=slurm", "hydra.launcher.partition=debug", "hydra.launcher.cpus_per_task=1",
         "hydra.launcher.mem_gb=1", "hydra.launcher.timeout_min=5"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of a running cluster."""
    home = tmp_path_factory.mktemp("slurm") / "home"
    environment = os.environ | {"SLURM_HOME": str(home), "SLURM_CONF": str(home / "slurm.conf")}
    script = str(REPOSITORY / "tools" / "slurm.sh")
    try:
        subprocess.run([script, "start"], env=environment, check=True, timeout=120)
        yield environment
    finally:
        subprocess.run([script, "stop"], env=environment, check=True, timeout=60)


def test_a_six_job_sweep_is_one_array(cluster: dict[str, str], tmp_path: Path) -> None:
    code, text = run_app(tmp_path, *SLURM, "job=0,1,2,3,4,5", environment=cluster)
    assert code == 0, text
    check_done(tmp_path, range(6))
    listed = subprocess.run(["sacct", "-nX", "-o", "jobid,state"], env=cluster, capture_output=True, text=True,
                            check=True).stdout.split("\n")
    arrays = {line.split("_")[0] for line in listed if "_" in line and "COMPLETED" in line}
    assert len(arrays) == 1, listed


def test_a_cancelled_job_is_reported_and_the_sweep_goes_on(cluster: dict[str, str], tmp_path: Path) -> None:
    words = [*SLURM, "hydra.launcher.array_parallelism=2", "answers=8", "pause=1.0", "job=0,1"]
    process = start_app(tmp_path, *words, environment=cluster)
    wait_until(lambda: len(job_run(tmp_path, 0).answers()) >= 2)
    jobs = subprocess.run(["squeue", "-h", "-t", "RUNNING", "-r", "-o", "%i"], env=cluster, capture_output=True, text=True,
                          check=True).stdout.split()
    cancelled = next(job for job in jobs if job.endswith("_0"))
    subprocess.run(["scancel", "--signal=KILL", "--full", cancelled], env=cluster, check=True)
    text, _ = process.communicate(timeout=180)
    assert process.returncode != 0 and "UncompletedJobError" in text, text
    state = job_run(tmp_path, 0).state()
    assert (state.state, state.reason) == ("failed", INTERRUPTED)
    kept = job_run(tmp_path, 0).answers()
    assert job_run(tmp_path, 1).state().state == "done" and len(kept) >= 2
    code, text = run_app(tmp_path, *words, environment=cluster)
    assert code == 0, text
    check_done(tmp_path, range(2), answers=8)
    assert job_run(tmp_path, 0).answers()[:len(kept)] == kept
