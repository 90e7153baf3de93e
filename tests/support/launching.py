"""Helpers of the launcher tests: a sweep of the tiny model by the real command line, and what its
jobs left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tiny_settings import TINY as TINY_RUN

from ffbench.runs.run_folder import RunFolder
from ffbench.runs.store import RunStore

REPOSITORY = Path(__file__).resolve().parents[2]
TINY = [*TINY_RUN, "task.limit=2", "task.max_length=400"]
SIX = "sparsity=0,0.2,0.3,0.4,0.5,0.6"
SLOW = [*TINY, "task.limit=40"]


def start_sweep(
    output: Path,
    *words: str,
    python: str = sys.executable,
    tiny: list[str] = TINY,
    environment: dict[str, str] | None = None,
) -> subprocess.Popen[str]:
    """The command line as a process of its own; a later word wins over an earlier one."""
    variables = {
        name: value
        for name, value in (environment or dict(os.environ)).items()
        if name != "WANDB_SWEEP_ID"
    }
    variables |= {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'kernels'}",
    }
    chosen = {word.split("=")[0]: word for word in [*tiny, f"output_dir={output}", *words]}
    return subprocess.Popen(
        [python, "-m", "ffbench", *chosen.values()],
        env=variables,
        text=True,
        cwd=output,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def run_sweep(
    output: Path,
    *words: str,
    python: str = sys.executable,
    tiny: list[str] = TINY,
    environment: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Exit code and output of a whole sweep."""
    process = start_sweep(output, *words, python=python, tiny=tiny, environment=environment)
    text, _ = process.communicate(timeout=300)
    return process.returncode, text


def runs(output: Path) -> list[RunFolder]:
    """Run folders there are."""
    return RunStore(output).runs()


def check_done(output: Path, jobs: int) -> None:
    """Every job has its result, and what they share was made once.

    A stage that is made again gets another time, so equal seconds in every run show that it was
    made once; dense answers that two jobs computed would stand twice in the log."""
    assert [run.state().state for run in runs(output)] == ["done"] * jobs
    results = [run.result() for run in runs(output)]
    for stage in ("fit", "dense_tails", "answers"):
        seconds = {result["cost"][stage] for result in results if stage in result["cost"]}
        assert len(seconds) == 1, f"stage {stage} was made {len(seconds)} times"
    for log in (
        *output.glob("stages/answers/*/answers.jsonl"),
        *output.glob("runs/*/answers.jsonl"),
    ):
        ids = [
            (one["task"], one["record_id"]) for one in map(json.loads, log.read_text().splitlines())
        ]
        assert len(ids) == len(set(ids)), log
    assert not [path for path in output.rglob("*") if path.suffix in (".part", ".tmp")]


def answers_in(output: Path) -> int:
    """Answers of all sparse runs so far."""
    return sum(path.read_bytes().count(b"\n") for path in output.glob("runs/*/answers.jsonl"))


def busy_run(output: Path, process: subprocess.Popen[str], seconds: float = 120) -> RunFolder:
    """A run that is being computed and has some answers, as soon as there is one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        for run in runs(output):
            if len(run.answers()) >= 3 and run.state().state == "running":
                return run
        time.sleep(0.02)
    raise AssertionError("no run was seen at work")


def worker_of(run: RunFolder) -> int:
    """Process that holds the run's lock."""
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if entry.resolve() == (run.path / ".lock").resolve():
                return int(entry.parts[2])
        except OSError:
            continue
    raise AssertionError(f"no process computes {run.run_key}")


def starts_of_a_lost_job(
    output: Path, *words: str, environment: dict[str, str] | None = None
) -> int:
    """How often a job was started whose worker was killed at work. The sweep must end well, and no
    answer may be computed again."""
    process = start_sweep(
        output, *words, "sparsity=0.3,0.5,0.6", tiny=SLOW, environment=environment
    )
    busy = busy_run(output, process)
    kept = busy.answers()
    os.kill(worker_of(busy), signal.SIGKILL)
    text, _ = process.communicate(timeout=200)
    assert process.returncode == 0, text
    check_done(output, 3)
    assert busy.answers()[: len(kept)] == kept
    return 1 + len(busy.provenance()["earlier"])
