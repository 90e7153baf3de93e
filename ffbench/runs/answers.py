"""Append-only answer log: one JSON object per line, safe against a kill at any moment."""

import os
from pathlib import Path
from typing import Any

from ffbench import strict_json
from ffbench.runs.files import StoreError, disk_errors, json_text, make_folder


class AnswerLog:
    """`answers.jsonl` of a run or of the dense stage. One writer at a time (the caller holds the
    lock).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._descriptor: int | None = None

    def read(self) -> list[dict[str, Any]]:
        """Complete answers in file order; a last line that a kill cut short is left out.

        Raises:
            StoreError: a complete line is not a JSON object.

        """
        if not self.path.exists():
            return []
        with disk_errors("read", self.path):
            data = self.path.read_bytes()
        answers = []
        for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), 1):
            try:
                answer = strict_json.parse(line)
            except ValueError as error:
                raise StoreError(
                    f"{self.path} line {number} is damaged ({error}); remove the line and run again"
                ) from error
            if not isinstance(answer, dict):
                raise StoreError(
                    f"{self.path} line {number} is not an object; remove the line and run again"
                )
            answers.append(answer)
        return answers

    def append(self, answer: dict[str, Any]) -> None:
        """Write one answer through to the disk; on an error the file keeps just its complete lines.

        Raises:
            StoreError: the answer is not JSON, or the disk refuses.

        """
        try:
            line = json_text(answer).encode() + b"\n"
        except (TypeError, ValueError) as error:
            raise StoreError(
                f"answer of {answer.get('task')}/{answer.get('record_id')}: {error}"
            ) from error
        descriptor = self._open()
        end = os.fstat(descriptor).st_size
        with disk_errors("append to", self.path):
            try:
                view = memoryview(line)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, end)
                raise

    def close(self) -> None:
        """Close the file; a later append opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            make_folder(self.path.parent)
            with disk_errors("append to", self.path):
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
                data = self.path.read_bytes()
                os.ftruncate(self._descriptor, data.rfind(b"\n") + 1)
        return self._descriptor
