"""Read files of JSON lines, such as the answers of runs."""

from pathlib import Path
from typing import Any

from ffanalysis.frames import LoadError
from ffbench import strict_json
from ffbench.runs.schema import RunResult


def answers_path(output_dir: Path, folder: Path, result: RunResult) -> Path:
    """The file of a run's answers; that of the shared stage for a dense run."""
    own = folder / "answers.jsonl"
    if result.dense and result.dense_answers and not own.exists():
        return dense_answers_path(output_dir, result)
    return own


def dense_answers_path(output_dir: Path, result: RunResult) -> Path:
    """The dense answers to a run's records, in the shared stage."""
    return output_dir / "stages" / "answers" / str(result.dense_answers) / "answers.jsonl"


def answer_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file; none if it is missing.

    Raises:
        LoadError: a line is damaged; the text names it.

    """
    if not path.exists():
        return []
    lines = [line for line in path.read_bytes().splitlines() if line.strip()]
    try:
        rows = strict_json.parse(b"[" + b",".join(lines) + b"]")
    except ValueError:
        rows = []
    if len(rows) == len(lines) and all(type(row) is dict for row in rows):
        return list(rows)
    return [
        answer_row(path, number, line)
        for number, line in enumerate(path.read_bytes().splitlines(), 1)
    ]


def answer_row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """The object of one line. Raises LoadError."""
    try:
        row = strict_json.parse(line)
    except ValueError as error:
        raise LoadError(f"{path} line {number}: {error}") from error
    if not isinstance(row, dict):
        raise LoadError(f"{path} line {number}: expected an object")
    return row
