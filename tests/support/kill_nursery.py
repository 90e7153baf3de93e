"""Kill real runs at random moments and start them again: `kill_nursery.py FOLDER KILLS SEED`; a
JSON report at the end.

This process has everything imported and the tiny model loaded; each start of a run is a fork of it
(one thread), so that a kill and a new start cost tenths of a second. A run notes the phase that it
is in, and every answer that it is about to write, outside its output folder."""

import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from tiny_settings import TINY as TINY_RUN

from ffbench.cli.compose import jobs_of
from ffbench.experiment import execute, session
from ffbench.runs import provenance
from ffbench.runs.answers import AnswerLog
from ffbench.runs.cache import StageCache
from ffbench.runs.run_folder import RunFolder
from ffbench.settings import RunSettings

TINY = [*TINY_RUN, "task.limit=3", "task.max_length=300", "speed.rounds=2"]
SCENARIOS = {
    "tuned": ["compensator.tune_steps=6", "scheduler=sensitivity"],
    "lowrank": ["compensator=lowrank", "scheduler=token_mixing", "selector=static", "sparsity=0.3"],
    "dense": ["sparsity=0"],
}
TIMINGS = ("cost", "speed")
BESIDE = ("start", "load", "between", "finish")
LONGEST_RUN = 120.0
MOST_ROUNDS = 8


class Notes:
    """What the runs of one output folder note: the phase now (32 bytes at the start of a file), and
    a log."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._phase = os.open(folder / "phase", os.O_RDWR | os.O_CREAT)
        self._log = os.open(folder / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self.path = folder / "log"

    def phase(self, name: str) -> None:
        os.pwrite(self._phase, name.encode().ljust(32), 0)
        os.write(self._log, f"{time.monotonic()} phase {name}\n".encode())

    def now(self) -> str:
        return os.pread(self._phase, 32, 0).decode().strip()

    def answer(self, name: str) -> None:
        os.write(self._log, f"{time.monotonic()} answer {name}\n".encode())

    def lines(self, kind: str) -> list[tuple[float, str]]:
        """Moments and names of one kind."""
        rows = [line.split(" ", 2) for line in self.path.read_text().splitlines()]
        return [(float(moment), name) for moment, what, name in rows if what == kind]


def noted(notes: Notes) -> None:
    """Make this process's runs note their phases and answers."""
    make, append, timed, finish = (
        StageCache._make,
        AnswerLog.append,
        session.Session.timed,
        RunFolder.finish,
    )

    def noted_make(self: StageCache, final: Path, stage: str, *rest: Any) -> None:
        notes.phase(stage)
        make(self, final, stage, *rest)
        notes.phase("between")

    def noted_append(self: AnswerLog, answer: dict[str, Any]) -> None:
        if self.path.parent.parent.name == "runs" and notes.now() != "evaluate":
            notes.phase("evaluate")
        notes.answer(
            f"{self.path.parent.name.removesuffix('.part')}/{answer['task']}/{answer['record_id']}"
        )
        append(self, answer)

    @contextmanager
    def noted_timed(self: session.Session, stage: str) -> Any:
        notes.phase(stage)
        with timed(self, stage):
            yield
        notes.phase("between")

    def noted_finish(self: RunFolder, result: dict[str, Any]) -> None:
        notes.phase("finish")
        finish(self, result)

    StageCache._make, AnswerLog.append = noted_make, noted_append
    session.Session.timed, RunFolder.finish = noted_timed, noted_finish


def settings_of(output: Path, words: list[str]) -> RunSettings:
    """Settings of a scenario in an output folder."""
    return jobs_of([*TINY, *words, f"output_dir={output}"])[0].settings


def start(settings: RunSettings, notes: Notes) -> int:
    """Fork a run; returns its process id."""
    process = os.fork()
    if process:
        return process
    code, output = 1, Path(settings.output_dir)
    try:
        errors = os.open(output.with_suffix(".err"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(errors, 1)
        os.dup2(errors, 2)
        noted(notes)
        notes.phase("start")
        execute.execute(settings, ["kill_nursery.py"])
        code = 0
    except Exception:  # noqa: BLE001 - told to the parent by the exit code, to a reader by the file
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(process: int) -> int | None:
    """Wait status of a process that ended, else None."""
    found, status = os.waitpid(process, os.WNOHANG)
    return status if found else None


def finished(settings: RunSettings, notes: Notes) -> None:
    """Run to the end; raises where it fails."""
    if os.waitpid(start(settings, notes), 0)[1] != 0:
        raise RuntimeError(
            f"a run failed:\n{Path(settings.output_dir).with_suffix('.err').read_text()[-3000:]}"
        )


def kill_in(process: int, notes: Notes, phase: str | None, delay: float) -> str | None:
    """Wait for `phase` (None: no phase), then `delay` seconds, and kill; the phase that was hit,
    None if it had ended."""
    limit = time.monotonic() + LONGEST_RUN
    while phase and notes.now() != phase:
        status = ended(process)
        if status is not None:
            check_status(status)
            return None
        if time.monotonic() > limit:
            raise RuntimeError(f"no phase {phase} in {LONGEST_RUN} s")
        time.sleep(0.0005)
    time.sleep(delay)
    hit = notes.now()
    os.kill(process, signal.SIGKILL)
    status = os.waitpid(process, 0)[1]
    if os.WIFSIGNALED(status):
        return hit
    check_status(status)
    return None


def check_status(status: int) -> None:
    """Raises where a run failed by itself."""
    if status != 0:
        raise RuntimeError(f"a restarted run ended with status {status}")


def durations(notes: Notes) -> dict[str, float]:
    """Seconds of each phase of an uninterrupted run."""
    rows = notes.lines("phase")
    spent: dict[str, float] = {}
    for (begin, name), (end, _) in pairwise(rows):
        spent[name] = spent.get(name, 0.0) + end - begin
    return spent


def facts(output: Path) -> dict[str, Any]:
    """Everything that the runs of a folder say, without times."""
    found: dict[str, Any] = {}
    for run in sorted(output.glob("runs/*")):
        result = json.loads((run / "result.json").read_text())
        found[run.name] = {name: value for name, value in result.items() if name not in TIMINGS}
        found[run.name]["timed"] = [name for name in TIMINGS if result.get(name)]
        found[run.name]["plan"] = {
            path.name: path.read_bytes().hex() for path in sorted(run.glob("plan/*.safetensors"))
        }
        for path in run.glob("plan/*.json"):
            header = json.loads(path.read_text())
            header["card"].pop("speed", None)
            found[run.name]["plan"][path.name] = header
    for log in sorted(output.glob("*/**/answers.jsonl")):
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        found[str(log.relative_to(output))] = [
            {k: v for k, v in row.items() if k != "seconds"} for row in rows
        ]
    return found


def one_round(
    folder: Path, source: random.Random, known: dict[str, dict[str, float]]
) -> Counter[str]:
    """Kill the runs of every scenario in a new output folder, finish them; kills by phase."""
    notes, kills = Notes(folder / "notes"), Counter[str]()
    for name, words in SCENARIOS.items():
        settings = settings_of(folder / "out", words)
        phases = [phase for phase in known[name] if phase not in BESIDE]
        for phase in [*phases, None, None]:
            spent = known[name][phase] if phase else sum(known[name].values())
            process = start(settings, notes)
            hit = kill_in(process, notes, phase, source.uniform(0, spent))
            if hit is not None:
                kills[hit] += 1
        finished(settings, notes)
    return kills


def repeated(notes: Path) -> int:
    """Answers that were computed again."""
    names = [line.split(" ", 2)[2] for line in notes.read_text().splitlines() if " answer " in line]
    return sum(count - 1 for count in Counter(names).values())


def leftovers(folder: Path) -> list[str]:
    """Temporary files."""
    return [
        str(path)
        for path in folder.rglob("*")
        if ".part" in path.name or path.name.endswith(("tmp", "~"))
    ]


def work(folder: Path, wanted: int, seed: int) -> dict[str, Any]:
    """The report: kills by phase, answers computed again, differences from the uninterrupted runs,
    leftovers."""
    torch.set_num_threads(1)
    provenance.git_state()
    session.loaded(session.ModelSpec("tiny_llama", "tiny", "llama"))
    known = {}
    for name, words in SCENARIOS.items():
        notes = Notes(folder / f"notes_{name}")
        finished(settings_of(folder / "whole", words), notes)
        known[name] = durations(notes)
    expected, source = facts(folder / "whole"), random.Random(seed)
    report: dict[str, Any] = {
        "kills": Counter(),
        "rounds": 0,
        "repeated": [],
        "different": [],
        "left": [],
        "seconds": {name: sum(spent.values()) for name, spent in known.items()},
    }
    stages = {phase for spent in known.values() for phase in spent} - {*BESIDE}
    while report["rounds"] < MOST_ROUNDS and (
        report["kills"].total() < wanted or stages - set(report["kills"])
    ):
        place = folder / f"round{report['rounds']}"
        kills = one_round(place, source, known)
        found = facts(place / "out")
        report["different"] += [
            name for name in expected | found if expected.get(name) != found.get(name)
        ]
        report["repeated"].append([repeated(place / "notes" / "log"), kills.total()])
        report["left"] += leftovers(place / "out")
        report["kills"] += kills
        report["rounds"] += 1
    return report


if __name__ == "__main__":
    print(json.dumps(work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
