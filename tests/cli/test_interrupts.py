"""Ctrl-C at random moments of every command: one line, exit code 130, and the work resumes.

FFBENCH_INTERRUPTS=N interrupts each command N times (once without it).
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_settings import TINY

RECORDED = Path(__file__).parents[1] / "recorded" / "data"
SWEEP = Path(__file__).parents[2] / "sweeps" / "sparsity.yaml"
KEYS = [f"{number:016x}" for number in (6, 7)]
DONE, INVALID = 0, 2
INTERPRETER_END = 3.0  # seconds that Python takes to unload torch, beside another process
TIMES = int(os.environ.get("FFBENCH_INTERRUPTS", "1"))
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
CODE = "import sys; from ffbench.cli.main import main; print('ready', flush=True); sys.exit(main())"
# What each command runs in a folder with finished runs, and about how many seconds it takes.
COMMANDS: dict[str, tuple[list[str], float]] = {
    "run": ([*TINY, "output_dir=OUT"], 12.0),
    "sweep of jobs": ([*TINY, "output_dir=OUT", "sparsity=0,0.5"], 15.0),
    "plan": (["plan", "save", "PLAN", *TINY, "output_dir=OUT"], 8.0),
    "speed": (["speed", *TINY, "output_dir=OUT"], 8.0),
    "sweep": (["sweep", str(SWEEP), "--local", *TINY, "output_dir=OUT"], 15.0),
    "report": (["report", "--output-dir", "OUT"], 2.0),
    "page": (["report", "--output-dir", "OUT", "--format", "html"], 6.0),
    "compare": (["compare", *KEYS, "--output-dir", "OUT"], 2.0),
    "status": (["status", "--watch", "--output-dir", "OUT"], 3.0),
    "lm_eval": (["lm_eval", "ls", "tasks"], 8.0),
    "sync": (["sync", "--output-dir", "OUT"], 3.0),
}


def interrupted(words: list[str], seconds: float) -> tuple[float | None, int, str]:
    """Seconds that a command took to end after a SIGINT, None if it had ended within `seconds`; its
    exit code and stderr.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | {"WANDB_MODE": "offline"},
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(seconds)
    running = process.poll() is None
    if running:
        process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, written = process.communicate(timeout=120)
    return time.monotonic() - begin if running else None, process.returncode, written


@pytest.mark.parametrize("number", range(TIMES))
@pytest.mark.parametrize("name", COMMANDS)
def test_an_interrupt_at_any_moment_is_one_line(name: str, number: int, tmp_path: Path) -> None:
    words, duration = COMMANDS[name]
    moment = random.Random(f"{name} {number}").uniform(0, duration)
    folder = Path(shutil.copytree(RECORDED, tmp_path / "out"))
    places = {"OUT": str(folder), "PLAN": str(tmp_path / "plan")}
    given = [
        word.replace("OUT", places["OUT"]) if word != "PLAN" else places["PLAN"] for word in words
    ]
    took, code, written = interrupted(given, moment)
    assert "Traceback" not in written, written
    if took is not None and code != 130:  # only if it was ending, with a code of its own
        assert code in (DONE, INVALID) and took < INTERPRETER_END, written
    elif took is not None:
        assert written.splitlines()[-1].startswith("stopped"), written
