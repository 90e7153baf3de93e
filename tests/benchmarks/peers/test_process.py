"""Workers: they answer, are stopped in between, and say why they failed."""

import sys
from pathlib import Path

import pytest
from waiting import wait_until

from benchmarks.peers import process
from benchmarks.peers.process import Worker, WorkerError

REQUEST = {"engine": "fake", "threads": 1}
HEAD = "import json, os, sys, time\nsend = lambda line: print(json.dumps(line), flush=True)\n"
ANSWERS = HEAD + (
    "request = json.loads(input())\n"
    "send({'facts': {'threads': os.environ['OMP_NUM_THREADS'], 'engine': request['engine']}})\n"
    "for line in sys.stdin:\n"
    "    send({'seconds': 0.25, 'token': sum(json.loads(line)['ids'])})\n"
)


def python(tmp_path: Path, script: str) -> list[str]:
    """An interpreter that runs `script` whatever follows."""
    path = tmp_path / "worker.py"
    path.write_text(script)
    return [sys.executable, str(path)]


def state(worker: Worker) -> str:
    text = Path(f"/proc/{worker._process.pid}/stat").read_text()
    return text.rpartition(")")[2].split()[0]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_idle_worker_is_stopped_and_answers_again(tmp_path: Path) -> None:
    worker = Worker(python(tmp_path, ANSWERS), REQUEST)
    try:
        assert worker.facts == {"threads": "1", "engine": "fake"}
        for ids in ([1, 2], [5]):
            wait_until(lambda: state(worker) in "Tt")
            assert worker.ask(ids) == (0.25, sum(ids))
    finally:
        worker.close()
    assert worker._process.returncode is not None


def test_reason_is_the_error(tmp_path: Path) -> None:
    script = HEAD + "send({'reason': 'RuntimeError: no such format'})\n"
    with pytest.raises(WorkerError, match="^RuntimeError: no such format$"):
        Worker(python(tmp_path, script), REQUEST)


def test_process_that_ends_leaves_its_last_words(tmp_path: Path) -> None:
    script = HEAD + "input()\nprint('first\\nIllegal instruction', file=sys.stderr)\nsys.exit(3)\n"
    with pytest.raises(WorkerError, match="ended with code 3: Illegal instruction"):
        Worker(python(tmp_path, script), REQUEST)


def test_silent_worker_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOAD_SECONDS", 0.3)
    with pytest.raises(WorkerError, match="no answer within 0.3 s"):
        Worker(python(tmp_path, HEAD + "time.sleep(60)\n"), REQUEST)


def test_missing_interpreter(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="cannot be started"):
        Worker([str(tmp_path / "python")], REQUEST)


def test_the_real_worker_names_the_package_that_is_missing() -> None:
    with pytest.raises(WorkerError, match="ModuleNotFoundError: No module named '(.*)nothing'"):
        Worker([sys.executable], REQUEST | {"engine": "nothing"})
