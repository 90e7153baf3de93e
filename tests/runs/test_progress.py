"""Progress lines where there is no terminal, and how far a sweep is."""

import json
from pathlib import Path

import numpy as np
import pytest

from ffbench.runs import progress
from ffbench.runs.progress import LineBar, duration, on_terminal, progress_bar
from ffbench.runs.status import sweep_status
from ffbench.runs.store import RunStore
from ffbench.runs.sweep_progress import sweep_progress

KEYS = [f"{number:016x}" for number in range(4)]


def test_one_line_a_minute_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    for number, _ in enumerate(progress_bar(range(12), desc="answers")):
        now[0] += 25.0
        assert len(capsys.readouterr().err.splitlines()) == (number > 0 and number % 3 == 0)
    assert capsys.readouterr().err == "answers: 12 of 12, about 0 s left\n"
    now[0] = 0.0
    bar = progress_bar(total=100, initial=40, desc="tune")
    bar.set_postfix(kl=0.25)
    now[0] = 60.0
    bar.update(20)
    assert capsys.readouterr().err == "tune: 60 of 100, about 2 min left, kl 0.25\n"


def test_lines_pass_items_through_and_need_no_total() -> None:
    assert list(progress_bar(iter("abc"), desc="x")) == ["a", "b", "c"]
    rows = np.arange(4).reshape(2, 2)  # has no truth value, as tensors have none
    assert [row.tolist() for row in progress_bar(rows)] == rows.tolist()
    assert (
        isinstance(progress_bar(total=3), LineBar)
        and LineBar(None, None, 0, "x").line(1.0) == "x: 0 of ?"
    )


def test_bars_only_on_a_terminal_that_no_other_process_draws_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    assert on_terminal()
    monkeypatch.setenv(progress.PLAIN, "1")
    assert not on_terminal()


@pytest.mark.parametrize(("seconds", "text"), [(40.2, "40 s"), (720, "12 min"), (12600, "3.5 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """Run 0 done in 100 s, run 1 running with 2 answers, 2 and 3 missing."""
    store = RunStore(tmp_path)
    done, running = (store.folder(key) for key in KEYS[:2])
    done.start({}, {"started": "2026-01-01T00:00:00+00:00"})
    done.finish({"model": "m", "cost": {"fit": 1000.0}})
    state = json.loads((done.path / "state.json").read_text()) | {
        "updated": "2026-01-01T00:01:40+00:00"
    }
    (done.path / "state.json").write_text(json.dumps(state))
    running.start({}, {})
    running.answer_log.append({"task": "a", "record_id": "1"})
    running.answer_log.append({"task": "a", "record_id": "2"})
    store.__dict__["held"] = running
    store.save_sweep("mine", [{"run_key": key, "overrides": []} for key in KEYS])
    return store


def test_a_sweep_s_time_left_comes_from_its_done_jobs(store: RunStore) -> None:
    found = sweep_progress(store, sweep_status(store, "mine"))
    assert found.seconds_left == 300 and not found.over and found.ended == 1
    assert found.line() == "mine: 1 of 4 done, 1 running (2 answers), about 5 min left"


def test_a_dense_run_says_nothing_about_sparse_ones(store: RunStore) -> None:
    dense = store.folder(KEYS[0])
    result = json.loads((dense.path / "result.json").read_text())
    (dense.path / "result.json").write_text(json.dumps(result | {"sparsity": 0.0}))
    assert sweep_progress(store, sweep_status(store, "mine")).seconds_left is None


def test_before_any_is_done_past_runs_tell(store: RunStore) -> None:
    store.save_sweep("new", [{"run_key": KEYS[3], "overrides": []}])
    assert sweep_progress(store, sweep_status(store, "new")).seconds_left == 1000
    empty = RunStore(store.output_dir / "empty")
    empty.save_sweep("new", [{"run_key": KEYS[3], "overrides": []}])
    found = sweep_progress(empty, sweep_status(empty, "new"))
    assert found.seconds_left is None and found.line() == "new: 0 of 1 done"


def test_failures_are_counted_and_end_a_sweep(store: RunStore) -> None:
    store.__dict__["held"].fail("x")
    store.save_sweep("mine", [{"run_key": key, "overrides": []} for key in KEYS[:2]])
    found = sweep_progress(store, sweep_status(store, "mine"))
    assert found.over and found.line() == "mine: 1 of 2 done, 1 failed"


def test_what_a_running_job_has_done_is_not_counted_again(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    store = RunStore(tmp_path)
    done, running = store.folder("a" * 16), store.folder("b" * 16)
    done.start({}, {"started": (datetime.now(UTC) - timedelta(seconds=600)).isoformat()})
    done.finish({"sparsity": 0.5})
    running.start({}, {"started": (datetime.now(UTC) - timedelta(seconds=590)).isoformat()})
    jobs = [{"run_key": run.run_key, "overrides": []} for run in (done, running)]
    store.save_sweep("mine", jobs)
    left = sweep_progress(store, sweep_status(store, "mine")).seconds_left
    assert left is not None and 0 <= left <= 20
