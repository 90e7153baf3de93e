"""Runs cases under Triton's interpreter: a script of cases in a process of its own, and its end."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import ffkernels

HERE = Path(__file__).resolve().parent


def outcomes_of(script: str) -> dict[str, str]:
    """What `report` printed in a script of this folder, by case."""
    paths = [str(HERE), str(Path(ffkernels.__file__).resolve().parents[1])]
    done = subprocess.run(
        [sys.executable, str(HERE / script)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return outcomes


def report(cases: Iterable[tuple[str, Callable[[], None]]]) -> None:
    """Run all cases, also after a failure, and print "ok" or the error of each."""
    assert os.environ.get("TRITON_INTERPRET") == "1"
    outcomes = {}
    for name, case in cases:
        try:
            case()
            outcomes[name] = "ok"
        except Exception as error:  # noqa: BLE001 - reported as the failure of this case
            outcomes[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(outcomes))
