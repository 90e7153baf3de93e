"""Run folders: order of writing, states, resume, sweeps."""

import json
import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from ffbench.runs import files
from ffbench.runs.files import StoreError, write_json
from ffbench.runs.run_folder import INTERRUPTED, RunBusyError, RunFolder
from ffbench.runs.store import RunStore

KEY = "0123456789abcdef"
PROVENANCE = {"git_sha": "abc", "command": ["ffbench"]}
CONTEXT = multiprocessing.get_context("fork")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunStore(tmp_path).folder(KEY)


def answer(number: int) -> dict:
    return {"task": "lcc", "record_id": number, "prediction": "é\n", "score": 0.5}


def test_life_of_a_run(run: RunFolder, tmp_path: Path) -> None:
    assert run.state().state == "missing"
    assert run.start({"model": {"name": "m"}}, PROVENANCE)
    assert sorted(p.name for p in run.path.iterdir() if p.suffix == ".json") == [
        "config.json",
        "provenance.json",
        "state.json",
    ]
    assert run.state().state == RunStore(tmp_path).folder(KEY).state().state == "running"
    run.answer_log.append(answer(0))
    run.answer_log.append(answer(1))
    assert RunStore(tmp_path).folder(KEY).answers() == [answer(0), answer(1)]
    run.finish({"run_key": KEY, "speed": None})
    assert run.state().state == "done" and run.state().reason is None
    assert run.result() == {"run_key": KEY, "speed": None}
    assert run.config() == {"model": {"name": "m"}} and run.provenance() == PROVENANCE


def test_a_done_run_is_not_started_again(run: RunFolder) -> None:
    run.start({}, PROVENANCE)
    run.finish({"run_key": KEY})
    before = {p.name: p.stat().st_mtime_ns for p in run.path.iterdir()}
    assert not run.start({"other": 1}, {})
    assert {p.name: p.stat().st_mtime_ns for p in run.path.iterdir()} == before


def test_a_failed_run_keeps_its_reason_and_goes_on(run: RunFolder) -> None:
    run.start({}, PROVENANCE)
    run.answer_log.append(answer(0))
    run.fail("ValueError: no")
    assert (run.state().state, run.state().reason) == ("failed", "ValueError: no")
    with pytest.raises(StoreError, match=r"no result: it is failed \(ValueError: no\)"):
        run.result()
    assert run.start({}, {"git_sha": "def"})
    assert run.answers() == [answer(0)]
    assert run.provenance() == {"git_sha": "def", "earlier": [PROVENANCE]}


def start_and_wait(path: Path, started: Event) -> None:
    run = RunFolder(path)
    run.start({}, PROVENANCE)
    run.answer_log.append(answer(0))
    started.set()
    signal.pause()


def test_a_killed_run_is_interrupted_and_a_live_one_is_busy(run: RunFolder) -> None:
    started = CONTEXT.Event()
    process = CONTEXT.Process(target=start_and_wait, args=(run.path, started))
    process.start()
    assert started.wait(10)
    assert run.state().state == "running"
    with pytest.raises(RunBusyError, match=f"run {KEY} is being computed by another process"):
        run.start({}, PROVENANCE, wait=0.1)
    process.kill()
    process.join()
    state = run.state()
    assert (state.state, state.reason, state.interrupted) == ("failed", INTERRUPTED, True)
    assert run.start({}, PROVENANCE, wait=0) and run.answers() == [answer(0)]


def finish_later(path: Path, started: Event) -> None:
    run = RunFolder(path)
    run.start({}, PROVENANCE)
    started.set()
    multiprocessing.Event().wait(0.3)
    run.finish({"run_key": KEY})


def test_the_second_starter_waits_and_finds_the_run_done(run: RunFolder) -> None:
    started = CONTEXT.Event()
    process = CONTEXT.Process(target=finish_later, args=(run.path, started))
    process.start()
    assert started.wait(10)
    assert not run.start({}, PROVENANCE, wait=10)
    process.join()
    assert run.result() == {"run_key": KEY}


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_torn_last_answer_is_dropped_and_overwritten(run: RunFolder, cut: int) -> None:
    run.start({}, PROVENANCE)
    for number in range(3):
        run.answer_log.append(answer(number))
    run.fail("stop")
    path = run.path / "answers.jsonl"
    os.truncate(path, path.stat().st_size - cut)
    again = RunFolder(run.path)
    assert again.answers() == [answer(0), answer(1)]
    again.start({}, PROVENANCE)
    again.answer_log.append(answer(9))
    assert again.answers() == [answer(0), answer(1), answer(9)]


@pytest.mark.parametrize("line", ["{half\n", "[1]\n"])
def test_a_damaged_answer_inside_the_file_is_an_error_with_its_line(
    run: RunFolder, line: str
) -> None:
    run.start({}, PROVENANCE)
    (run.path / "answers.jsonl").write_text(
        json.dumps(answer(0)) + "\n" + line + json.dumps(answer(1)) + "\n"
    )
    with pytest.raises(StoreError, match="answers.jsonl line 2"):
        run.answers()


def test_values_that_are_not_json_are_refused_and_nothing_is_written(run: RunFolder) -> None:
    run.start({}, PROVENANCE)
    with pytest.raises(StoreError, match="lcc/3"):
        run.answer_log.append({"task": "lcc", "record_id": 3, "nll": float("nan")})
    with pytest.raises(StoreError, match="null for what was not measured"):
        run.finish({"kl": float("inf")})
    assert run.answers() == [] and run.state().state == "running"


def test_a_failed_atomic_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"old": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StoreError, match="disk is full"):
        write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1} and [p.name for p in tmp_path.iterdir()] == [
        "result.json"
    ]


def test_a_damaged_state_names_the_file(run: RunFolder) -> None:
    run.start({}, PROVENANCE)
    run.fail("x")
    (run.path / "state.json").write_text("")
    with pytest.raises(StoreError, match="state.json is damaged"):
        run.state()


def test_a_result_that_cannot_be_read_is_no_result(run: RunFolder) -> None:
    run.start({}, PROVENANCE)
    run.finish({"a": 1})
    assert run.state().state == "done"
    path = run.path / "result.json"
    path.write_text('{"a": 1')
    state = run.state()
    assert state.state == "failed" and f"{path} is damaged" in (state.reason or "")
    assert not state.interrupted
    with pytest.raises(StoreError, match="result.json is damaged"):  # not computed again by itself
        run.start({}, PROVENANCE)
    path.unlink()
    assert run.start({}, PROVENANCE)


def test_a_result_that_was_removed_is_made_again(run: RunFolder) -> None:
    run.start({}, PROVENANCE)
    run.finish({})
    (run.path / "result.json").unlink()
    assert run.state().interrupted
    assert run.start({}, PROVENANCE)


@pytest.mark.parametrize(
    "key", ["", "xyz", "0123456789ABCDEF", "0123456789abcde", "../0123456789abc"]
)
def test_run_keys_are_checked(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="16 hex digits"):
        RunStore(tmp_path).folder(key)


def test_sweeps(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    assert store.sweeps() == [] and store.runs() == []
    store.save_sweep("sparsity", [{"run_key": KEY, "overrides": ["sparsity=0.5"]}])
    created = store.sweep("sparsity")["created"]
    store.save_sweep("sparsity", [])
    assert store.sweep("sparsity") == {"name": "sparsity", "created": created, "jobs": []}
    assert [sweep["name"] for sweep in store.sweeps()] == ["sparsity"]
    with pytest.raises(StoreError, match="no sweep 'other'.*there are: sparsity"):
        store.sweep("other")
    with pytest.raises(ValueError, match="sweep name"):
        store.save_sweep("../x", [])
    store.folder(KEY).start({}, {})
    (tmp_path / "runs" / "notes").mkdir()
    assert [run.run_key for run in store.runs()] == [KEY]


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"state": 3}', "[" * 100_000])
def test_a_damaged_state_is_named_and_counts_as_failed(text: str, tmp_path: Path) -> None:
    from ffbench.runs.status import all_status

    run = RunStore(tmp_path).folder(KEY)
    run.start({}, PROVENANCE)
    run.fail("x")
    (run.path / "state.json").write_text(text)
    with pytest.raises(StoreError, match="state.json is damaged"):
        run.state()
    ((job,),) = [status.jobs for status in all_status(RunStore(tmp_path))]
    assert job.state == "failed" and "state.json is damaged" in str(job.reason)


@pytest.mark.parametrize("text", ["[]", "{", '{"earlier": 3}'])
def test_a_damaged_provenance_is_named(text: str, run: RunFolder) -> None:
    run.start({}, PROVENANCE)
    run.fail("x")
    (run.path / "provenance.json").write_text(text)
    with pytest.raises(StoreError, match="provenance.json is damaged"):
        run.start({}, PROVENANCE)
    assert run.state().state == "failed"


@pytest.mark.parametrize("jobs", ["3", "[3]", "[{}]", '[{"run_key": "zz", "overrides": []}]'])
def test_a_damaged_sweep_list_is_named(jobs: str, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.save_sweep("s", [{"run_key": KEY, "overrides": ["a=1"]}])
    assert store.sweep("s")["jobs"] == [{"run_key": KEY, "overrides": ["a=1"]}]
    path = tmp_path / "sweeps" / "s.json"
    path.write_text(f'{{"name": "s", "created": "now", "jobs": {jobs}}}')
    for read in (store.sweeps, lambda: store.sweep("s")):
        with pytest.raises(StoreError, match="s.json is damaged"):
            read()
