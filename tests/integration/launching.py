"""Helpers of the launcher tests: start the small app on a launcher and read what its jobs left."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ffbench.runs.identity import content_key
from ffbench.runs.store import RunFolder, RunStore

REPOSITORY = Path(__file__).resolve().parents[2]
APP = REPOSITORY / "tests" / "fakes" / "launch_app.py"


def start_app(output: Path, *words: str, python: str = sys.executable,
              environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """The app as a process of its own; `output` must be seen by every job."""
    variables = os.environ | {"FFBENCH_CONF": str(REPOSITORY / "conf"), "PYTHONPATH": str(REPOSITORY),
                              "HYDRA_FULL_ERROR": "0"} | (environment or {})
    return subprocess.Popen([python, str(APP), f"output_dir={output}", *words], env=variables, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=output)


def run_app(output: Path, *words: str, python: str = sys.executable,
            environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit code and output of a whole sweep."""
    process = start_app(output, *words, python=python, environment=environment)
    text, _ = process.communicate(timeout=180)
    return process.returncode, text


def job_run(output: Path, job: int) -> RunFolder:
    """Run folder of one job."""
    return RunStore(output).folder(content_key({"job": job}))


def check_done(output: Path, jobs: range, answers: int = 3) -> None:
    """Every job has its result, and the stage they share was made once."""
    for job in jobs:
        assert job_run(output, job).result() == {"job": job, "answers": list(range(answers))}
    assert (output / "made.log").read_text() == "made\n"


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Poll `condition` (AssertionError after `seconds`)."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition never came true"
        time.sleep(0.1)
