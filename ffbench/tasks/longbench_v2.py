"""LongBench v2 (arXiv 2412.15204; THUDM/LongBench, MIT): multiple choice on long texts.

The prompt is its `0shot.txt`, the answer is found as its `pred.py` does, 128 answer tokens. Its
records are not downloaded: `task.data_dir` is a folder with the data set's data.json (or one of
FILES). Decoding is greedy, where LongBench samples at temperature 0.1, and `task.max_length` counts
the answer too.
"""

import json
import re
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from ffbench.data.json_lines import DataFileError, not_unicode, read_json_lines, read_text
from ffbench.tasks.base import (
    RecordChoice,
    TaskError,
    TaskRecord,
    TaskSpec,
    add_record,
    add_task,
    choose_evenly,
)

NAME = "longbench_v2"
FILES = ("longbench_v2.json", "data.json", "longbench_v2.jsonl", "longbench_v2.jsonl.gz")
CHOICES = "ABCD"
DIFFICULTIES, LENGTHS = ("easy", "hard"), ("short", "medium", "long")
TEXT_FIELDS = ("_id", "question", "context", *(f"choice_{letter}" for letter in CHOICES))
CHOSEN_FIELDS = {"answer": tuple(CHOICES), "difficulty": DIFFICULTIES, "length": LENGTHS}
RECORDS = {"": 503, "easy": 192, "hard": 311, "short": 180, "medium": 215, "long": 108}
ANSWER = "The correct answer is ({letter})"
ANSWER_PATTERNS = (r"The correct answer is \(([A-D])\)", r"The correct answer is ([A-D])")
WITHOUT_FOLDER = (
    f"task {NAME!r}: set task.data_dir to a folder with LongBench v2's data.json (data set "
    "zai-org/LongBench-v2 on the hub, about 465 MB): "
    "hf download zai-org/LongBench-v2 data.json --repo-type dataset --local-dir FOLDER"
)


def chosen_letter(prediction: str) -> str | None:
    """The letter that an answer names; None if it names none."""
    text = prediction.replace("*", "")
    matches = (re.search(pattern, text) for pattern in ANSWER_PATTERNS)
    return next((match[1] for match in matches if match), None)


def score(prediction: str, record: TaskRecord) -> float:
    """100 for the right letter, else 0."""
    return 100.0 * (chosen_letter(prediction) == chosen_letter(record.answers[0]))


def check(row: dict[str, Any], place: str) -> None:
    """Raise TaskError naming `place` and the field that a record lacks."""
    for field in TEXT_FIELDS:
        if not isinstance(row.get(field), str) or not row[field].strip():
            raise TaskError(f"{place}: field {field!r} must be text that is not empty")
        if not_unicode(row[field]):
            raise TaskError(
                f"{place}: field {field!r} is not Unicode text (half of a surrogate pair)"
            )
    for field, valid in CHOSEN_FIELDS.items():
        if row.get(field) not in valid:
            raise TaskError(
                f"{place}: field {field!r} is {row.get(field)!r}, valid are {', '.join(valid)}"
            )


def record_of(row: dict[str, Any], place: str) -> TaskRecord:
    """The record of a row. Raises TaskError."""
    check(row, place)
    choices = "\n".join(f"({letter}) {row[f'choice_{letter}'].strip()}" for letter in CHOICES)
    return TaskRecord(
        row["_id"],
        NAME,
        "Please read the following text and answer the question below.\n\n"
        f"<text>\n{row['context'].strip()}\n</text>",
        f"\n\nWhat is the correct answer to this question: {row['question'].strip()}\n"
        f"Choices:\n{choices}\n\n"
        'Format your response as follows: "The correct answer is (insert answer here)".',
        (ANSWER.format(letter=row["answer"]),),
        stated_length=len(row["context"].split()),
    )


def file_of(data_dir: str | None) -> Path:
    """The file with the records. Raises TaskError if there is none."""
    if data_dir is None:
        raise TaskError(WITHOUT_FOLDER)
    folder = Path(data_dir).expanduser()
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    if not folder.is_dir():
        raise TaskError(f"task.data_dir: {folder} is not a directory")
    raise TaskError(f"task.data_dir: {folder} has no {' or '.join(FILES)} for task {NAME!r}")


def rows_of(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Place and object of every record, of a JSON list or JSON Lines. Raises TaskError."""
    try:
        if path.suffix != ".json":
            return list(read_json_lines(path))
        rows = json.loads(read_text(path))
    except DataFileError as error:
        raise TaskError(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{path.name}: not JSON ({error})") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TaskError(f"{path.name}: a list of JSON objects was expected")
    return [(f"{path.name} record {number}", row) for number, row in enumerate(rows, 1)]


@lru_cache(maxsize=2)
def records_of(path: Path, modified: int) -> list[tuple[TaskRecord, tuple[str, str]]]:
    """Every record with its difficulty and length, read anew if its time of change `modified` (ns)
    is another. Raises TaskError for the first record that is malformed, or if there is none.
    """
    records: dict[str, TaskRecord] = {}
    parts = []
    for place, row in rows_of(path):
        add_record(records, record_of(row, place), place=place, field="_id")
        parts.append((row["difficulty"], row["length"]))
    if not records:
        raise TaskError(f"{path.name}: holds no record")
    return list(zip(records.values(), parts, strict=True))


def load(part: str, choice: RecordChoice) -> list[TaskRecord]:
    """The records of a part ("" is all of them), spread over their lengths in words."""
    path = file_of(choice.data_dir)
    records = [
        record
        for record, parts in records_of(path, path.stat().st_mtime_ns)
        if not part or part in parts
    ]
    if not records:
        raise TaskError(f"{path.name}: no record is {part}, for task '{NAME}_{part}'")
    return choose_evenly(records, choice.limit)


def register(part: str, published: int) -> None:
    """Add one part, of `published` records in all, to the registry."""
    add_task(
        TaskSpec(
            name=f"{NAME}_{part}" if part else NAME,
            category="multiple choice",
            metric="accuracy",
            max_new_tokens=128,
            load=partial(load, part),
            score=score,
            chance=lambda records: 100 / len(CHOICES),
            chat=True,
            suite="LongBench v2",
            published=published,
        )
    )


for name, count in RECORDS.items():
    register(name, count)
