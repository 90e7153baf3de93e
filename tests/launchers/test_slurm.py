"""A real Slurm cluster on this machine (`make test-slurm`, root): sweep, cancelled job, resume."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from launching import REPOSITORY, SIX, SLOW, busy_run, check_done, run_sweep, start_sweep

from ffbench.runs.run_folder import INTERRUPTED

pytestmark = pytest.mark.skipif(
    os.environ.get("FFBENCH_TEST_SLURM") != "1",
    reason="starts Slurm's daemons as root: make test-slurm",
)
SLOWER = [*SLOW, "task.limit=60", "task.max_length=2000"]
SLURM = [
    "launcher=slurm",
    "hydra.launcher.partition=debug",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.mem_gb=2",
    "hydra.launcher.timeout_min=10",
    "hydra.launcher.array_parallelism=2",
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of a running cluster; its log is shown where it does not start."""
    home = tmp_path_factory.mktemp("slurm") / "home"
    environment = os.environ | {"SLURM_HOME": str(home), "SLURM_CONF": str(home / "slurm.conf")}
    script = str(REPOSITORY / "tools" / "slurm.sh")
    try:
        subprocess.run([script, "start"], env=environment, check=True, timeout=180)
        yield environment
    finally:
        subprocess.run([script, "stop"], env=environment, check=True, timeout=60)
        assert not home.exists()


def told(environment: dict[str, str], *command: str) -> list[str]:
    """Words that a Slurm command prints."""
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.split()


def test_a_six_job_sweep_is_one_array(cluster: dict[str, str], tmp_path: Path) -> None:
    code, text = run_sweep(tmp_path, *SLURM, SIX, environment=cluster)
    assert code == 0, text
    check_done(tmp_path, 6)
    ended = told(cluster, "sacct", "-nX", "-o", "jobid,state")
    assert ended.count("COMPLETED") == 6 and len({job.split("_")[0] for job in ended[::2]}) == 1, (
        ended
    )


def test_a_cancelled_job_is_reported_and_the_sweep_goes_on(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    words = [*SLURM, SIX, "sparsity=0.3,0.5,0.6"]
    process = start_sweep(tmp_path, *words, tiny=SLOWER, environment=cluster)
    busy = busy_run(tmp_path, process)
    number = [0.3, 0.5, 0.6].index(busy.config()["sparsity"])
    job = next(
        one for one in told(cluster, "squeue", "-h", "-r", "-o", "%i") if one.endswith(f"_{number}")
    )
    told(cluster, "scancel", job)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 1, text
    assert f"failed: {busy.path}" in text and f"Slurm job {job} ended as CANCELLED" in text, text
    assert "1 of 3 runs failed, 2 done" in text and "Traceback" not in text
    assert (busy.state().state, busy.state().reason) == ("failed", INTERRUPTED)
    kept = busy.answers()
    code, text = run_sweep(tmp_path, *words, tiny=SLOWER, environment=cluster)
    assert code == 0 and "[1/1] " not in text, text
    check_done(tmp_path, 3)
    assert busy.answers()[: len(kept)] == kept


def test_a_job_that_fails_by_itself_names_its_reason(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    dry = run_sweep(tmp_path, "sparsity=0.3,0.5", "--dry-run")[1]
    key = next(line.split()[1] for line in dry.splitlines() if line.startswith("missing"))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / key).write_text("a file where the run's folder should be")
    code, text = run_sweep(tmp_path, *SLURM, "sparsity=0.3,0.5", environment=cluster)
    assert code == 1 and "a file has that name" in text and "1 of 2 runs failed, 1 done" in text


def test_a_cluster_without_accounting_is_refused_at_once(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    broken = tmp_path / "slurm.conf"
    broken.write_text(
        "\n".join(
            line
            for line in Path(cluster["SLURM_CONF"]).read_text().splitlines()
            if not line.startswith("Accounting")
        )
    )
    code, text = run_sweep(tmp_path, *SLURM, SIX, environment=cluster | {"SLURM_CONF": str(broken)})
    assert code == 2 and "accounting (slurmdbd) is required" in text and "Traceback" not in text
