"""SIGKILL at random moments: every result equals the uninterrupted one and little work is done
twice."""

import hashlib
import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

from ffbench.runs.answers import AnswerLog
from ffbench.runs.cache import StageCache
from ffbench.runs.store import RunStore

KILLS = 60
RECORDS = 12
LONGEST = 0.12


def pause() -> None:
    time.sleep(0.002)


def note(log: Path, word: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{word}\n".encode())
    os.close(descriptor)


def compute(key: str, record: int) -> dict:
    pause()
    return {
        "task": "t",
        "record_id": record,
        "prediction": hashlib.sha256(f"{key}{record}".encode()).hexdigest(),
    }


def stage_program(output: Path, log: Path, key: str) -> None:
    """A run in small: a stage of two files, resumable dense answers, sparse answers, a result."""
    cache, run = StageCache(output), RunStore(output).folder(key)
    if not run.start({"key": key}, {"command": []}):
        return

    def collect(folder: Path) -> None:
        for name in ("a", "b"):
            (folder / name).write_text(key * 100)
            pause()

    def dense(folder: Path) -> None:
        answers = AnswerLog(folder / "answers.jsonl")
        for record in range(len(answers.read()), RECORDS):
            note(log, f"{key} dense {record}")
            answers.append(compute(key + "dense", record))

    stage = cache.get_or_make("collect", key, collect)
    answers_folder = cache.get_or_make("answers", key, dense, resumable=True)
    for record in range(len(run.answers()), RECORDS):
        note(log, f"{key} sparse {record}")
        run.answer_log.append(compute(key, record))
    run.finish(
        {
            "collect": (stage / "a").read_text() + (stage / "b").read_text(),
            "answers": run.answers(),
            "dense": AnswerLog(answers_folder / "answers.jsonl").read(),
        }
    )


def start(output: Path, log: Path, key: str) -> int:
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        stage_program(output, log, key)
        code = 0
    finally:
        os._exit(code)


def kill_later(process: int, seconds: float) -> bool:
    """True where the kill came before the end of the process."""
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def uninterrupted(folder: Path, key: str) -> str:
    process = start(folder, folder / "log", key)
    assert os.waitpid(process, 0)[1] == 0
    return (folder / "runs" / key / "result.json").read_text()


def test_random_kills(tmp_path: Path) -> None:
    source = random.Random(7)
    output, log, kills, key_number = tmp_path / "killed", tmp_path / "log", Counter(), 0
    (tmp_path / "whole").mkdir()
    while kills.total() < KILLS:
        key = f"{key_number:016x}"
        killed = kill_later(start(output, log, key), source.uniform(0, LONGEST))
        kills[key] += killed
        state = RunStore(output).folder(key).state()
        assert state.state in (("missing", "failed", "done") if killed else ("done",)), state
        if state.state == "done":
            key_number += 1
    last = f"{key_number:016x}"
    assert os.waitpid(start(output, log, last), 0)[1] == 0
    repeats = Counter()
    for word, times in Counter(log.read_text().splitlines()).items():
        repeats[word.split()[0]] += times - 1
    for number in range(key_number + 1):
        key = f"{number:016x}"
        assert (output / "runs" / key / "result.json").read_text() == uninterrupted(
            tmp_path / "whole", key
        )
        assert repeats[key] <= kills[key], (
            f"{key}: {repeats[key]} answers computed again after {kills[key]} kills"
        )
    assert kills.total() >= 50 and key_number >= 3
    assert [p for p in output.rglob("*") if ".part" in p.name or "tmp" in p.name] == []
    assert json.loads((output / "runs" / last / "state.json").read_text())["state"] == "done"
