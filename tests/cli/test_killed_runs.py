"""A real run that is killed goes on where it stopped and gives the same result."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

WORDS = ["model=tiny_llama", "tracker=none", "task.limit=6", "task.max_length=400", "block_size=32", "sparsity=0.5",
         "calibration.tokens=1024", "calibration.window=512", "fidelity.windows=1", "fidelity.window=256",
         "speed.rounds=0", "compensator.rank=8", "kernel=torch"]
VARIES = ("cost",)


def start(output: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "ffbench", *WORDS, f"output_dir={output}"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                            env=os.environ | {"OMP_NUM_THREADS": "1"}, start_new_session=True)


def lines_in(output: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in output.rglob("answers.jsonl"))


def kill_after(output: Path, answers: int) -> int:
    """Kill a run once `answers` are on the disk; returns how many there were then."""
    process = start(output)
    while lines_in(output) < answers and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return lines_in(output)


def result_of(output: Path) -> dict[str, Any]:
    result = json.loads(next(output.glob("runs/*/result.json")).read_text())
    return {name: value for name, value in result.items() if name not in VARIES}


def test_a_killed_run_gives_the_uninterrupted_result(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    process = start(whole)
    assert process.wait() == 0, process.communicate()[1]
    kept = [kill_after(broken, answers) for answers in (3, 12, 15)]
    assert kept[0] >= 3 and kept == sorted(kept) and not list(broken.glob("runs/*/result.json"))
    process = start(broken)
    assert process.wait() == 0, process.communicate()[1]
    assert result_of(broken) == result_of(whole)
    assert lines_in(broken) == lines_in(whole) == 24
    assert not [path for path in broken.rglob("*") if path.suffix in (".part", ".tmp")]
