"""Stage cache: once only, whatever dies or waits."""

import multiprocessing
import signal
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from types import SimpleNamespace

import pytest

from ffbench.runs import cache as module
from ffbench.runs.cache import StageCache
from ffbench.runs.files import StoreError

CONTEXT = multiprocessing.get_context("fork")


def write(text: str, log: Path | None = None, seconds: float = 0.0):
    def make(folder: Path) -> None:
        if log is not None:
            with open(log, "a") as handle:
                handle.write("made\n")
        (folder / "data.txt").write_text(text)
        time.sleep(seconds)

    return make


@pytest.fixture
def let_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the cache's clock, which stands still otherwise, by some seconds."""
    now = [0.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def later(seconds: float) -> None:
        now[0] += seconds

    return later


def test_made_once_with_its_seconds(tmp_path: Path, let_pass: Callable[[float], None]) -> None:
    def make(folder: Path) -> None:
        write("one", log)(folder)
        let_pass(0.5)

    cache, log = StageCache(tmp_path), tmp_path / "log"
    assert not cache.has("collect", "k") and cache.seconds("collect", "k") is None
    folder = cache.get_or_make("collect", "k", make)
    assert (
        folder == tmp_path / "stages" / "collect" / "k"
        and (folder / "data.txt").read_text() == "one"
    )
    assert cache.seconds("collect", "k") == 0.5
    assert StageCache(tmp_path).get_or_make("collect", "k", write("two", log)) == folder
    assert log.read_text() == "made\n" and (folder / "data.txt").read_text() == "one"


def test_other_keys_and_stages_are_apart(tmp_path: Path) -> None:
    cache = StageCache(tmp_path)
    paths = {
        cache.get_or_make(stage, key, write(stage + key))
        for stage in ("collect", "fit")
        for key in ("a", "b")
    }
    assert len(paths) == 4 and {(p / "data.txt").read_text() for p in paths} == {
        "collecta",
        "collectb",
        "fita",
        "fitb",
    }


def test_a_failure_passes_and_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise FileNotFoundError(2, "No such file", "input.jsonl")

    cache = StageCache(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"input\.jsonl"):
        cache.get_or_make("fit", "k", fail)
    assert list((tmp_path / "stages" / "fit").iterdir()) == [] and not cache.has("fit", "k")
    assert (cache.get_or_make("fit", "k", write("ok")) / "data.txt").exists()


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    class SafetensorError(Exception):
        pass

    def fail(_: Path) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    with pytest.raises(StoreError, match=r"cannot write stage fit .*disk is full"):
        StageCache(tmp_path).get_or_make("fit", "k", fail)


def test_a_resumable_stage_resumes_and_adds_its_seconds(
    tmp_path: Path, let_pass: Callable[[float], None]
) -> None:
    def make(folder: Path) -> None:
        path = folder / "answers.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("\n".join([*lines, "line"]))
        let_pass(0.5)
        if len(lines) < 2:
            raise KeyboardInterrupt

    cache = StageCache(tmp_path)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            cache.get_or_make("answers", "k", make, resumable=True)
    folder = cache.get_or_make("answers", "k", make, resumable=True)
    assert (folder / "answers.jsonl").read_text().count("line") == 3
    assert sorted(p.name for p in folder.iterdir()) == ["answers.jsonl", "meta.json"]
    assert cache.seconds("answers", "k") == 1.5


def test_a_finished_folder_without_meta_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "stages" / "fit" / "k"
    folder.mkdir(parents=True)
    (folder / "stale").write_text("x")
    StageCache(tmp_path).get_or_make("fit", "k", write("new"))
    assert sorted(p.name for p in folder.iterdir()) == ["data.txt", "meta.json"]


def in_process(output: Path, log: Path) -> None:
    StageCache(output).get_or_make("collect", "k", write("x", log, 0.2))


def test_processes_that_start_together_make_it_once(tmp_path: Path) -> None:
    processes = [
        CONTEXT.Process(target=in_process, args=(tmp_path, tmp_path / "log")) for _ in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert [process.exitcode for process in processes] == [0] * 4
    assert (tmp_path / "log").read_text() == "made\n"


def hang(output: Path, started: Event) -> None:
    def make(folder: Path) -> None:
        (folder / "half").write_text("x")
        started.set()
        signal.pause()

    StageCache(output).get_or_make("collect", "k", make)


def test_a_lock_times_out_while_its_process_lives_and_is_free_when_it_dies(tmp_path: Path) -> None:
    started = CONTEXT.Event()
    process = CONTEXT.Process(target=hang, args=(tmp_path, started))
    process.start()
    assert started.wait(10)
    cache = StageCache(tmp_path)
    with pytest.raises(
        StoreError, match="stage collect k was still being made by another process after 0 s"
    ):
        cache.get_or_make("collect", "k", write("x"), timeout=0.1)
    process.kill()
    process.join()
    folder = cache.get_or_make("collect", "k", write("x"), timeout=5)
    assert sorted(p.name for p in folder.iterdir()) == ["data.txt", "meta.json"]
    assert [p.name for p in folder.parent.iterdir()] == ["k"]


@pytest.mark.parametrize(("stage", "key"), [("", "k"), ("a/b", "k"), ("fit", ".."), ("fit", "")])
def test_names_are_checked(tmp_path: Path, stage: str, key: str) -> None:
    with pytest.raises(ValueError, match="plain names"):
        StageCache(tmp_path).path(stage, key)
