"""Read the answer files of runs, line by line."""

import json
from pathlib import Path
from typing import Any

from ffanalysis.frames import LoadError


def answers_path(output_dir: Path, folder: Path, result: dict[str, Any]) -> Path:
    """The file of a run's answers; that of the shared stage for a dense run."""
    shared = result.get("dense_answers")
    dense = not result["sparsity"] and shared and not (folder / "answers.jsonl").exists()
    return (output_dir / "stages" / "answers" / str(shared) if dense else folder) / "answers.jsonl"


def answer_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file; none where it is not there. Raises LoadError naming a
    damaged line.
    """
    if not path.exists():
        return []
    lines = [line for line in path.read_bytes().splitlines() if line.strip()]
    try:
        rows = json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError:
        rows = []
    if len(rows) == len(lines) and all(type(row) is dict for row in rows):
        return list(rows)
    return [
        answer_row(path, number, line)
        for number, line in enumerate(path.read_bytes().splitlines(), 1)
    ]


def answer_row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """One line by itself. Raises LoadError naming it."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise LoadError(f"{path} line {number}: {error}") from error
    if not isinstance(row, dict):
        raise LoadError(f"{path} line {number}: expected an object")
    return row
