"""The other end of a worker: starts it, asks it, and stops it while it has nothing to do."""

import json
import os
import selectors
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LOAD_SECONDS, ANSWER_SECONDS, END_SECONDS = 900.0, 900.0, 10.0
CHUNK = 1 << 16  # bytes


class WorkerError(RuntimeError):
    """A worker failed, ended or did not answer in time; the text is one line."""


def environment(threads: int) -> dict[str, str]:
    """The child's variables: this checkout's packages, and the number of OpenMP threads."""
    paths = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "analysis")]
    inherited = os.environ.get("PYTHONPATH")
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([*paths, *([inherited] if inherited else [])]),
        "OMP_NUM_THREADS": str(threads),
    }


class Worker:
    """A runtime's process. Between two answers it is stopped by SIGSTOP, so that thread pools that
    wait actively take no time from the others.
    """

    def __init__(self, python: Sequence[str], request: dict[str, Any]) -> None:
        """Start and load; raises WorkerError with the reason if that fails."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._buffer = b""
        try:
            self._process = subprocess.Popen(
                [*python, "-m", "benchmarks.peers.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                cwd=ROOT,
                env=environment(request["threads"]),
            )
        except OSError as error:
            self._errors.close()
            raise WorkerError(f"{python[0]} cannot be started: {error.strerror}") from error
        try:
            self.facts: dict[str, Any] = self._exchange(request, LOAD_SECONDS)["facts"]
        except BaseException:
            self.close()
            raise

    def ask(self, ids: list[int]) -> tuple[float, int]:
        """Seconds until the next token was known, and its id."""
        line = self._exchange({"ids": ids}, ANSWER_SECONDS)
        return line["seconds"], line["token"]

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream:
                stream.close()

    def _exchange(self, line: dict[str, Any], limit: float) -> dict[str, Any]:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            self._process.send_signal(signal.SIGCONT)
            stdin.write(json.dumps(line).encode() + b"\n")
            stdin.flush()
        except OSError as error:
            raise WorkerError(self._last_words()) from error
        reply: dict[str, Any] = json.loads(self._line(limit))
        if "reason" in reply:
            raise WorkerError(reply["reason"])
        self._process.send_signal(signal.SIGSTOP)
        return reply

    def _line(self, limit: float) -> bytes:
        stdout = self._process.stdout
        assert stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(limit):
                    raise WorkerError(f"no answer within {limit:g} s")
                chunk = os.read(stdout.fileno(), CHUNK)
                if not chunk:
                    raise WorkerError(self._last_words())
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _last_words(self) -> str:
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return "its process closed its output but did not end"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"its process ended with code {code}: {lines[-1] if lines else 'no output'}"[:300]
