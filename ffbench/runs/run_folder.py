"""One run's folder: configuration first, answers as they come, the result last. Layout:
docs/result-schema.md.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ffbench.runs.answers import AnswerLog
from ffbench.runs.files import (
    StoreError,
    as_json,
    disk_errors,
    make_folder,
    read_object,
    write_atomic,
    write_json,
)

INTERRUPTED = "interrupted: its process ended before the run was finished; start it again to resume"

logger = logging.getLogger(__name__)


class RunBusyError(StoreError):
    """Another live process computes this run."""


@dataclass(frozen=True)
class RunState:
    """`state` is running, done, failed or missing; `reason` says why it failed; `updated` is ISO
    time.
    """

    state: str
    reason: str | None = None
    updated: str | None = None

    @property
    def interrupted(self) -> bool:
        """Whether the process died: answers are kept and a new start resumes from them."""
        return (self.reason or "").startswith("interrupted:")


def now() -> str:
    """UTC time to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@lru_cache(maxsize=4096)
def unreadable(path: Path, changed: int) -> str | None:
    """Why a JSON file cannot be read; None if it can.

    `changed` is the time of its last change: a file that was replaced is read again, and a sweep
    that is watched reads each result once.
    """
    try:
        read_object(path)
    except StoreError as error:
        return str(error)
    return None


class RunFolder:
    """One run's files. `start` takes the run's lock, which ends with `finish`, `fail` or the
    process. `answer_log` is written by whoever holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_key = path.name
        self.answer_log = AnswerLog(path / "answers.jsonl")
        self._lock = FileLock(str(path / ".lock"))

    def start(self, config: dict[str, Any], provenance: dict[str, Any], wait: float = 10.0) -> bool:
        """Take the run and write configuration and provenance; True if there is work to do.

        False means that the run is done, here or meanwhile in another process: nothing was touched.
        Answers of an interrupted or failed start are kept; its provenance goes into the list
        `earlier`.

        Raises:
            RunBusyError: another process still holds the run after `wait` seconds.
            StoreError: the folder cannot be written, or its result cannot be read.

        """
        if self._done():
            if problem := self._result_problem():
                raise StoreError(problem)
            return False
        make_folder(self.path)
        self._acquire(wait)
        try:
            if self._done():
                self._release()
                return False
            path = self.path / "provenance.json"
            if path.exists():
                before = read_object(path)
                earlier = before.pop("earlier", [])
                if not isinstance(earlier, list):
                    raise StoreError(f"{path} is damaged (its 'earlier' is not a list); remove it")
                provenance = provenance | {"earlier": [*earlier, before]}
            write_json(self.path / "config.json", config)
            write_json(path, provenance)
            self._write_state("running", None)
        except BaseException:
            self._release()
            raise
        return True

    def answers(self) -> list[dict[str, Any]]:
        """All complete answers, in the order they came."""
        return self.answer_log.read()

    def finish(self, result: dict[str, Any]) -> None:
        """Mark the run done, write result.json atomically as the last of all, and release the
        run.
        """
        self.answer_log.close()
        text = as_json(self.path / "result.json", result)
        self._write_state("done", None)
        write_atomic(self.path / "result.json", text)
        self._release()

    def fail(self, reason: str) -> None:
        """Mark the run failed with `reason` (one line is best) and release it."""
        self.answer_log.close()
        try:
            self._write_state("failed", reason)
        finally:
            self._release()

    def state(self) -> RunState:
        """State now. A `running` run whose process died is failed, with the reason `interrupted:
        ...`; one whose result cannot be read is failed too.
        """
        if problem := self._result_problem():
            return RunState("failed", problem)
        path = self.path / "state.json"
        if not path.exists():
            return RunState("done") if self._done() else RunState("missing")
        saved = read_object(path, state=str)
        state = RunState(saved["state"], saved.get("reason"), saved.get("updated"))
        if self._done():
            return RunState("done", None, state.updated)
        if state.state == "failed":
            return state
        if self._held():
            return RunState("running", None, state.updated)
        return (
            RunState("done", None, state.updated)
            if self._done()
            else RunState("failed", INTERRUPTED, state.updated)
        )

    def config(self) -> dict[str, Any]:
        """The resolved configuration of config.json."""
        return read_object(self.path / "config.json")

    def provenance(self) -> dict[str, Any]:
        """The provenance of the last start."""
        return read_object(self.path / "provenance.json")

    def result(self) -> dict[str, Any]:
        """The contents of result.json.

        Raises:
            StoreError: the run is not done, or the file is damaged.

        """
        if not self._done():
            state = self.state()
            raise StoreError(
                f"run {self.run_key} has no result: it is {state.state}"
                + (f" ({state.reason})" if state.reason else "")
            )
        return read_object(self.path / "result.json")

    def _done(self) -> bool:
        return (self.path / "result.json").exists()

    def _result_problem(self) -> str | None:
        """Why a result that is there cannot be read; None if it can, or is not there."""
        path = self.path / "result.json"
        try:
            changed = path.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"cannot read {path}: {error.strerror}"
        return unreadable(path, changed)

    def _write_state(self, state: str, reason: str | None) -> None:
        write_json(self.path / "state.json", {"state": state, "reason": reason, "updated": now()})

    def _acquire(self, wait: float) -> None:
        with disk_errors("lock", self.path):
            try:
                self._lock.acquire(timeout=0)
                return
            except Timeout:
                logger.warning("waiting for another process that computes run %s", self.run_key)
            try:
                self._lock.acquire(timeout=wait)
            except Timeout:
                raise RunBusyError(
                    f"run {self.run_key} is being computed by another process; wait for it, or "
                    "end that process and start again"
                ) from None

    def _release(self) -> None:
        self._lock.release()

    def _held(self) -> bool:
        if self._lock.is_locked:
            return True
        probe = FileLock(self._lock.lock_file)
        try:
            with probe.acquire(timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # a folder of another user: the lock file cannot be opened for writing
            return True
