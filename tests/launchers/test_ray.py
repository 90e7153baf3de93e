"""A real Ray head on loopback (`make test-ray`): sweep, killed worker, resume, no cluster."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from launching import (
    REPOSITORY,
    SIX,
    check_done,
    run_sweep,
    starts_of_a_lost_job,
)

pytestmark = pytest.mark.skipif(
    os.environ.get("FFBENCH_TEST_RAY") != "1",
    reason="starts a Ray head on this machine: make test-ray",
)
RAY = ["launcher=ray", "hydra.launcher.ray.init.address=127.0.0.2:6399"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """Environment of a running head; its folder has a short name, since Ray's sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="ffb") as folder:
        environment = os.environ | {
            "PYTHON": sys.executable,
            "RAY_HOME": f"{folder}/r",
            "RAY_AUTH_MODE": "disabled",
        }
        script = str(REPOSITORY / "tools" / "ray.sh")
        try:
            subprocess.run([script, "start"], env=environment, check=True, timeout=120)
            yield environment
        finally:
            subprocess.run([script, "stop"], env=environment, check=True, timeout=60)


def test_a_six_job_sweep_completes_and_is_done_afterwards(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    code, text = run_sweep(tmp_path, *RAY, SIX, environment=cluster)
    assert code == 0, text
    check_done(tmp_path, 6)
    code, text = run_sweep(tmp_path, *RAY, SIX, environment=cluster)
    assert code == 0 and "-> " not in text, text


def test_a_killed_worker_costs_its_job_one_more_start(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    assert starts_of_a_lost_job(tmp_path, *RAY, environment=cluster) >= 2


def test_a_failing_job_stops_no_other(cluster: dict[str, str], tmp_path: Path) -> None:
    dry = run_sweep(tmp_path, SIX, "--dry-run")[1]
    key = next(line.split()[1] for line in dry.splitlines() if line.startswith("missing"))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / key).write_text("a file where the run's folder should be")
    code, text = run_sweep(tmp_path, *RAY, SIX, environment=cluster)
    assert code == 1, text
    assert "a file has that name" in text and "1 of 6 runs failed, 5 done" in text, text
    (tmp_path / "runs" / key).unlink()
    assert run_sweep(tmp_path, *RAY, SIX, environment=cluster)[0] == 0
    check_done(tmp_path, 6)


def test_no_cluster_is_said_at_once(tmp_path: Path) -> None:
    code, text = run_sweep(
        tmp_path, "launcher=ray", "hydra.launcher.ray.init.address=127.0.0.2:6400", SIX
    )
    assert code == 2 and "no Ray cluster" in text and "Traceback" not in text, text
