"""The launchers of this machine, by the real command line: local and joblib."""

from pathlib import Path

import pytest
from launching import SIX, check_done, run_sweep, runs, starts_of_a_lost_job

JOBLIB = ["launcher=joblib", "hydra.launcher.n_jobs=2"]


@pytest.fixture(autouse=True)
def _package() -> None:
    pytest.importorskip("loky")


def test_a_sweep_shares_its_stages_and_starts_only_what_is_missing(tmp_path: Path) -> None:
    code, text = run_sweep(tmp_path, *JOBLIB, "sparsity=0,0.3,0.5,0.6")
    assert code == 0, text
    check_done(tmp_path, 4)
    first = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/*.json")}
    code, text = run_sweep(tmp_path, *JOBLIB, "sparsity=0,0.3,0.5,0.6,0.7")
    assert code == 0, text
    check_done(tmp_path, 5)
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert text.count("-> ") == 1 and "[1/1] " in text


@pytest.mark.parametrize("launcher", [["launcher=local"], JOBLIB], ids=["local", "joblib"])
def test_every_failure_is_shown_and_stops_no_other(launcher: list[str], tmp_path: Path) -> None:
    dry = run_sweep(tmp_path, SIX, "--dry-run")[1]
    keys = [line.split()[1] for line in dry.splitlines() if line.startswith("missing")]
    (tmp_path / "runs").mkdir()
    for key in (keys[1], keys[3]):
        (tmp_path / "runs" / key).write_text("a file where the run's folder should be")
    code, text = run_sweep(tmp_path, *launcher, SIX)
    assert code == 1
    failed = [line for line in text.splitlines() if line.startswith("failed: ")]
    assert [line.split()[1] for line in failed] == [
        f"{tmp_path}/runs/{key}" for key in (keys[1], keys[3])
    ]
    assert text.count("a file has that name") == 2 and "Traceback" not in text
    assert "2 of 6 runs failed, 4 done, 0 were done before" in text
    assert [run.run_key for run in runs(tmp_path) if run.state().state == "done"] == sorted(
        set(keys) - {keys[1], keys[3]}
    )


def test_a_killed_worker_costs_its_job_one_more_start(tmp_path: Path) -> None:
    assert starts_of_a_lost_job(tmp_path, *JOBLIB) == 2
