"""Run steps one after another and append each result to a file as it comes."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.steps import Step

TAIL = 2000  # characters of a failed step's output that are kept
GRACE = 5.0  # seconds that a step has to end after SIGTERM
LEAST = 5.0  # seconds; a step is not started with less time left


@dataclass(frozen=True)
class Runner:
    """How steps are run: the start of their command, where, and what is added to each line.

    variables: environment variables that earlier steps of this run left for the later ones.
    """

    python: Sequence[str]
    root: Path
    results: Path
    facts: dict[str, Any]
    packages: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict)

    def append(self, line: dict[str, Any]) -> None:
        """Add a line to the results and see to it that it is on the disk."""
        self.results.parent.mkdir(parents=True, exist_ok=True)
        with self.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line | self.facts) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def module_missing(self, module: str) -> bool:
        """True if a module of this repository has no file."""
        if module.split(".")[0] != "ffkernels":
            return False
        path = self.root / "kernels" / module.replace(".", "/")
        return not (path.with_suffix(".py").is_file() or (path / "__main__.py").is_file())

    def reason_to_skip(self, step: Step, seconds_left: float) -> str | None:
        """Why a step cannot be run, or None."""
        missing = [name for name in step.packages if name not in self.packages]
        if missing:
            return f"this environment lacks {', '.join(missing)}"
        if self.module_missing(step.module):
            return f"{step.module} is not part of this version"
        if seconds_left < LEAST:
            return "no time left"
        return None

    def run(self, step: Step, seconds_left: float) -> dict[str, Any]:
        """Run one step, append its line and return it."""
        command = [*self.python, "-m", step.module, *step.arguments]
        line: dict[str, Any] = {
            "step": step.name,
            "command": ["python", *command[len(self.python) :]],
        }
        reason = self.reason_to_skip(step, seconds_left)
        if reason:
            line |= {"status": "skipped", "reason": reason}
        else:
            if self.variables:
                line["variables"] = dict(self.variables)
            begin = time.time()
            limit = min(step.seconds, seconds_left)
            line |= timed(command, limit, self.root, self.variables)
            self.variables.update(self.written(step, begin))
        self.append(line)
        return line

    def written(self, step: Step, begin: float) -> dict[str, str]:
        """The step's variables whose files it has written since `begin`; not what the user set."""
        return {
            name: str(path)
            for name, path in step.variables
            if name not in os.environ and fresh(self.root / path, begin)
        }


def fresh(path: Path, begin: float) -> bool:
    """Whether a file holds something and was changed after `begin`, in seconds since the epoch."""
    # a file system may round times down to whole seconds
    return path.is_file() and path.stat().st_size > 0 and path.stat().st_mtime >= int(begin)


def timed(
    command: Sequence[str], limit: float, root: Path, variables: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run a command for at most `limit` seconds: status, seconds, its last JSON line or its end.

    `variables` are added to its environment.
    """
    paths = [str(root), str(root / "kernels"), str(root / "analysis")]
    inherited = os.environ.get("PYTHONPATH")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([*paths, *([inherited] if inherited else [])]),
        **(variables or {}),
    }
    started = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=root,
            env=environment,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                stop(process)
        output.seek(0)
        text = output.read()
    line: dict[str, Any] = {
        "status": "timeout" if code is None else "failed" if code else "ok",
        "seconds": round(time.monotonic() - started, 1),
    }
    result = last_json(text)
    if result is not None:
        line["result"] = result
    if line["status"] != "ok":
        line |= {"exit_code": code, "output_end": text[-TAIL:]}
    elif line.get("result", {}).get("device") == "cpu":
        line |= {"status": "failed", "reason": "this was measured on the CPU, not on the card"}
    return line


def stop(process: subprocess.Popen[Any]) -> None:
    """End a step and what it started: SIGTERM, then SIGKILL for whatever is still there."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)


def last_json(text: str) -> dict[str, Any] | None:
    """The last line of a text that is a JSON mapping, or None."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            with contextlib.suppress(ValueError):
                return json.loads(line)  # type: ignore[no-any-return]
    return None


def run_all(
    runner: Runner,
    steps: Sequence[Step],
    seconds: float,
    report: Callable[[int, dict[str, Any]], None],
) -> list[dict[str, Any]]:
    """Run every step within `seconds` in all; `report` gets each number and line as it ends."""
    end = time.monotonic() + seconds
    lines = []
    for number, step in enumerate(steps, 1):
        lines.append(runner.run(step, end - time.monotonic()))
        report(number, lines[-1])
    return lines
