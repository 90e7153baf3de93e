"""A measurement has the machine alone, whatever starts, waits or dies beside it."""

import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from waiting import wait_until

from ffbench.runs.machine import Machine

CONTEXT = multiprocessing.get_context("fork")


def note(log: Path, word: str) -> None:
    with open(log, "a") as handle:
        handle.write(f"{word}\n")


def job(folder: Path, name: str, stages: int, together: Barrier) -> None:
    """Stages of work with a measurement in the middle, each noted with its beginning and end."""
    with Machine(folder) as machine:
        together.wait(60)
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
    together = CONTEXT.Barrier(4)
    processes = [
        CONTEXT.Process(target=job, args=(tmp_path, str(number), 9, together))
        for number in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    rows = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert len(rows) == 4 * (9 + 1) * 2
    for number, (name, what, moment) in enumerate(rows):
        if (what, moment) == ("alone", "begin"):
            assert rows[number + 1] == [name, "alone", "end"]
    working: set[str] = set()
    side_by_side = False
    for name, what, moment in rows:
        if what == "alone":
            assert not working - {name}, "a job worked beside a measurement"
        elif moment == "begin":
            working.add(name)
            side_by_side |= len(working) > 1
        else:
            working.discard(name)
    assert side_by_side, "the jobs never ran side by side"


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
        wait_until((tmp_path / "held").exists)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        with Machine(tmp_path) as machine, machine.alone():
            pass
