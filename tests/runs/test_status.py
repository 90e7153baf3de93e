"""Sweep status, watching and cost estimates."""

from pathlib import Path

import pytest

from ffbench.runs.status import all_status, estimate_cost, jobs_status, sweep_status
from ffbench.runs.store import RunStore

KEYS = [f"{number:016x}" for number in range(5)]
JOBS = [{"run_key": key, "overrides": [f"sparsity=0.{number}"]} for number, key in enumerate(KEYS)]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """Run 0 done, 1 failed, 2 damaged, 3 running in this process, 4 missing."""
    store = RunStore(tmp_path)
    for key in KEYS[:4]:
        run = store.folder(key)
        run.start({}, {})
        store.__dict__.setdefault("held", []).append(run)
    held = store.__dict__["held"]
    held[0].finish({"model": "tiny", "cost": {"collect": 10.0, "evaluate": 20.0, "speed": None}})
    held[1].fail("ValueError: no such record")
    held[2].fail("x")
    (held[2].path / "state.json").write_text("{")
    store.save_sweep("mine", JOBS)
    return store


def test_every_job_has_its_state_and_reason(store: RunStore) -> None:
    status = sweep_status(store, "mine")
    assert [job.state for job in status.jobs] == ["done", "failed", "failed", "running", "missing"]
    assert status.counts == {"done": 1, "running": 1, "missing": 1, "failed": 2}
    assert [job.run_key for job in status.failures] == KEYS[1:3]
    assert status.failures[0].reason == "ValueError: no such record"
    assert "state.json is damaged" in (status.failures[1].reason or "") and status.failures[
        1
    ].folder.endswith(KEYS[2])
    lines = status.lines()
    assert lines[1] == f"failed   {KEYS[1]}  sparsity=0.1  (ValueError: no such record)"
    assert lines[-1] == "mine: 5 jobs: 1 done, 1 running, 1 missing, 2 failed"


def test_a_run_whose_result_is_damaged_is_not_done(store: RunStore) -> None:
    (store.folder(KEYS[0]).path / "result.json").write_text("[]")
    job = sweep_status(store, "mine").jobs[0]
    assert job.state == "failed" and "result.json is damaged (no JSON object)" in (job.reason or "")


def test_planned_jobs_and_loose_runs(store: RunStore) -> None:
    assert jobs_status(store, "dry", JOBS[4:]).counts["missing"] == 1
    assert [status.name for status in all_status(store)] == ["mine"]
    store.folder("f" * 16).start({}, {})
    assert [(status.name, len(status.jobs)) for status in all_status(store)] == [
        ("mine", 5),
        ("(no sweep)", 1),
    ]
    assert all_status(RunStore(store.output_dir / "empty")) == []


def test_cost_estimate(store: RunStore) -> None:
    assert (
        estimate_cost(store, 4).seconds == 120 and estimate_cost(store, 4, "other").seconds == 120
    )
    run = store.folder("e" * 16)
    run.start({}, {})
    run.finish({"model": "big", "cost": {"evaluate": 600.0}})
    assert estimate_cost(store, 2, "big").seconds == 1200
    assert estimate_cost(store, 2, "big").line() == (
        "2 jobs to do, about 20 min one after the other (median of 1 past runs; what is cached "
        "already makes it less)"
    )
    assert estimate_cost(store, 2).based_on == 2
    run = store.folder("d" * 16)
    run.start({}, {})
    run.finish({"model": "big", "cost": {"evaluate": 9000.0}, "speed": {"busy": True}})
    assert estimate_cost(store, 2, "big").seconds == 1200  # not from a busy machine
    assert estimate_cost(RunStore(store.output_dir / "empty"), 3).line() == (
        "3 jobs to do; no past run to estimate their cost from"
    )
    assert estimate_cost(store, 0).line() == "nothing to do"
