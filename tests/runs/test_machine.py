"""A measurement has the machine alone, whatever starts, waits or dies beside it."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

from ffbench.runs.machine import Machine

CONTEXT = multiprocessing.get_context("fork")


def note(log: Path, word: str) -> None:
    with open(log, "a") as handle:
        handle.write(f"{word}\n")


def job(folder: Path, name: str, stages: int) -> None:
    """Stages of work with a measurement in the middle, each noted with its beginning and end."""
    with Machine(folder) as machine:
        for number in range(stages):
            machine.halt()
            note(folder / "log", f"{name} work begin")
            time.sleep(0.01)
            note(folder / "log", f"{name} work end")
            if number == stages // 2:
                with machine.alone():
                    note(folder / "log", f"{name} alone begin")
                    time.sleep(0.05)
                    note(folder / "log", f"{name} alone end")


def test_nothing_else_happens_during_a_measurement(tmp_path: Path) -> None:
    processes = [
        CONTEXT.Process(target=job, args=(tmp_path, str(number), 9)) for number in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    rows = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert len(rows) == 4 * (9 + 1) * 2
    for number, (name, what, moment) in enumerate(rows):
        if (what, moment) == ("alone", "begin"):
            assert rows[number + 1] == [name, "alone", "end"]
    working: set[str] = set()
    for name, what, moment in rows:
        if what == "alone":
            assert not working - {name}, "a job worked beside a measurement"
        elif moment == "begin":
            working.add(name)
        else:
            working.discard(name)
    assert any(rows[i][0] != rows[i + 1][0] for i in range(len(rows) - 1)), (
        "the jobs never ran side by side"
    )


def hold(folder: Path, alone: bool) -> None:
    with Machine(folder) as machine:
        if alone:
            with machine.alone():
                note(folder / "held", "x")
                time.sleep(60)
        note(folder / "held", "x")
        time.sleep(60)


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    for alone in (False, True):
        (tmp_path / "held").unlink(missing_ok=True)
        process = CONTEXT.Process(target=hold, args=(tmp_path, alone))
        process.start()
        while not (tmp_path / "held").exists():
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        with Machine(tmp_path) as machine, machine.alone():
            pass
