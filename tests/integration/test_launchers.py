"""The launcher group on this machine: local and joblib."""

from pathlib import Path

import pytest
from launching import check_done, job_run, run_app


@pytest.mark.parametrize("words", [["launcher=local"], ["launcher=joblib", "hydra.launcher.n_jobs=2"]],
                         ids=lambda words: words[0])
def test_a_sweep_shares_its_stage_and_starts_only_what_is_missing(words: list[str], tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    code, text = run_app(tmp_path, *words, "job=0,1,2,3")
    assert code == 0, text
    check_done(tmp_path, range(4))
    first = {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/*/*.json")}
    code, text = run_app(tmp_path, *words, "job=0,1,2,3,4")
    assert code == 0, text
    check_done(tmp_path, range(5))
    assert {p: p.stat().st_mtime_ns for p in first} == first
    assert len({a["process"] for job in range(4) for a in job_run(tmp_path, job).answers()}) <= 2
