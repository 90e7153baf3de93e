"""The live view of a sweep, and `status --watch`: on a real terminal (a pty) and without one."""

import os
import pty
import re
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

from ffbench.cli import live, status
from ffbench.cli.live import MinuteLines, live_view, runs_here
from ffbench.cli.main import main
from ffbench.runs.progress import PLAIN
from ffbench.runs.status import SweepStatus, sweep_status
from ffbench.runs.store import RunStore
from ffbench.runs.sweep_progress import SweepProgress, sweep_progress

ROOT = Path(__file__).parents[2]
KEYS = [f"{number:016x}" for number in range(3)]
JOBS = [{"run_key": key, "overrides": [f"sparsity=0.{number}"]} for number, key in enumerate(KEYS)]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = RunStore(tmp_path)
    store.save_sweep("mine", JOBS)
    return store


def finish(store: RunStore, number: int) -> None:
    run = store.folder(KEYS[number])
    run.start({}, {})
    run.finish({})


def on_pty(code: str, *arguments: str) -> str:
    """What a program writes on a terminal of 24 lines and 100 columns."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 100))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels")]),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environment,
        cwd=ROOT,
    )
    os.close(follower)
    seen = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        seen += piece
    os.close(leader)
    assert process.wait() == 0, seen.decode()
    return seen.decode()


def test_a_terminal_gets_a_bar_that_moves(store: RunStore) -> None:
    code = """
import sys, time
from ffbench.cli import live
from ffbench.runs.progress import progress_bar, log_line
from ffbench.runs.store import RunStore
live.POLL_SECONDS = 0.1
store = RunStore(sys.argv[1])
with live.live_view(store, "mine", store.sweep("mine")["jobs"], True):
    for job in store.sweep("mine")["jobs"]:
        run = store.folder(job["run_key"])
        run.start({}, {})
        log_line("label " + job["run_key"])
        for _ in progress_bar(range(3), desc="inner"):
            time.sleep(0.1)
        run.finish({})
        time.sleep(0.3)
"""
    text = on_pty(code, str(store.output_dir))
    assert (
        re.search(r"mine \|.*\| 1/3", text)
        and re.search(r"mine \|.*\| 3/3", text)
        and "1 running" in text
    )
    assert all(f"label {key}" in text for key in KEYS) and "inner" in text


def test_elsewhere_a_line_a_minute(store: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = MinuteLines(lambda: now[0])
    for minute in range(3):
        now[0] = 60.0 * minute
        lines.show(sweep_progress(store, sweep_status(store, "mine")))
        lines.show(sweep_progress(store, sweep_status(store, "mine")))
    assert capsys.readouterr().err.splitlines() == ["mine: 0 of 3 done"] * 2


def test_the_view_ends_with_the_block_and_tells_other_processes_to_write_lines(
    store: RunStore,
) -> None:
    before = threading.active_count()
    with (
        pytest.raises(RuntimeError, match="from the block"),
        live_view(store, "mine", JOBS, own_process=False),
    ):
        assert os.environ[PLAIN] == "1" and threading.active_count() == before + 1
        raise RuntimeError("from the block")
    assert PLAIN not in os.environ and threading.active_count() == before
    with live_view(store, "mine", JOBS[:1], own_process=True):
        assert threading.active_count() == before and PLAIN not in os.environ


def test_a_damaged_file_is_said_and_the_view_goes_on(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ffbench.runs.files import StoreError

    ended, calls = threading.Event(), []

    def read() -> SweepStatus:
        calls.append(1)
        if len(calls) == 1:
            raise StoreError("half written")
        ended.set()
        return sweep_status(store, "mine")

    monkeypatch.setattr(live, "POLL_SECONDS", 0.01)
    live.poll(read, store, ended, terminal=False)
    assert len(calls) == 2 and "live view: half written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "here"),
    [
        ([], True),
        (["launcher=local"], True),
        (["launcher=joblib"], False),
        (["launcher=slurm", "hydra.launcher.partition=x"], False),
    ],
)
def test_launchers_that_use_other_processes(words: list[str], here: bool) -> None:
    assert runs_here(words) == here


def test_watch_follows_until_the_sweep_is_over(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = [0, 1, 2]
    monkeypatch.setattr(status.time, "sleep", lambda _: finish(store, left.pop(0)))
    monkeypatch.setattr(status, "EVERY_SECONDS", 0.0)
    assert main(["status", "--watch", "--output-dir", str(store.output_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("mine: ")] == [
        "mine: 0 of 3 done",
        "mine: 1 of 3 done",
        "mine: 2 of 3 done",
        "mine: 3 jobs: 3 done, 0 running, 0 missing, 0 failed",
    ]


def test_watch_on_a_terminal_redraws(store: RunStore) -> None:
    for number in range(3):
        finish(store, number)
    code = "import sys; from ffbench.cli.main import main; sys.exit(main(['status', '--watch', '--output-dir', sys.argv[1]]))"
    text = on_pty(code, str(store.output_dir))
    assert text.startswith(status.CLEAR) and text.rstrip().endswith("mine: 3 of 3 done")


def test_watch_without_a_sweep_or_with_an_unknown_one(
    tmp_path: Path, store: RunStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--watch", "--output-dir", str(tmp_path / "none")]) == 2
    assert "+sweep=sparsity" in capsys.readouterr().err
    assert main(["status", "other", "--watch", "--output-dir", str(store.output_dir)]) == 2
    assert "there are: mine" in capsys.readouterr().err


def test_a_small_terminal_shows_what_matters_first(store: RunStore) -> None:
    finish(store, 0)
    run = store.folder(KEYS[1])
    run.start({}, {})
    run.fail("no memory")
    progress: SweepProgress = sweep_progress(store, sweep_status(store, "mine"))
    lines = status.screen(progress, 5)
    assert (
        lines[0].startswith("failed") and "no memory" in lines[0] and lines[1] == "... and 2 more"
    )
    assert len(status.screen(progress, 40)) == 4
