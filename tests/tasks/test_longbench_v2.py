"""LongBench v2 from records that the tests write: prompts, the letter of an answer, parts, faults."""

import json
from pathlib import Path
from typing import Any

import pytest

from ffbench.evaluation.metrics import data_name
from ffbench.tasks.base import TaskError
from ffbench.tasks.longbench_v2 import chosen_letter
from ffbench.tasks.registry import get_spec


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "_id": f"id{number}",
        "domain": "Single-Document QA",
        "sub_domain": "Literary",
        "difficulty": ("easy", "hard")[number % 2],
        "length": ("short", "medium", "long")[number % 3],
        "question": " Who? ",
        "choice_A": "Ann",
        "choice_B": "Bob ",
        "choice_C": "Cid",
        "choice_D": "Dan",
        "answer": "ABCD"[number % 4],
        "context": "\nword " * (number + 1),
    } | changes


def write(folder: Path, rows: Any, name: str = "data.json") -> str:
    folder.mkdir(exist_ok=True)
    text = json.dumps(rows) if name.endswith(".json") else "\n".join(map(json.dumps, rows))
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder)


def test_the_prompt_is_longbenchs(tmp_path: Path) -> None:
    (record,) = get_spec("longbench_v2").records(None, write(tmp_path, [row(1, context=" a\n")]))
    assert record.context + record.question == (
        "Please read the following text and answer the question below.\n\n<text>\na\n</text>\n\n"
        "What is the correct answer to this question: Who?\nChoices:\n(A) Ann\n(B) Bob\n(C) Cid\n"
        '(D) Dan\n\nFormat your response as follows: "The correct answer is (insert answer here)".'
    )
    assert record.context.endswith("</text>") and record.answers == ("The correct answer is (B)",)


@pytest.mark.parametrize(
    ("prediction", "letter"),
    [
        ("The correct answer is (B).", "B"),
        ("**The correct answer is (B)**", "B"),
        ("I think. The correct answer is B", "B"),
        ("The correct answer is A, no: The correct answer is (B)", "B"),
        ("The correct answer is (b)", None),
        ("(B)", None),
        ("The correct answer is (E)", None),
        ("", None),
    ],
)
def test_the_letter_is_found_as_longbench_finds_it(
    prediction: str, letter: str | None, tmp_path: Path
) -> None:
    spec = get_spec("longbench_v2")
    (record,) = spec.records(None, write(tmp_path, [row(1)]))
    assert chosen_letter(prediction) == letter
    assert spec.points(prediction, record) == (100.0 if letter == "B" else 0.0)
    assert spec.chance_points([record]) == 25.0


@pytest.mark.parametrize("name", ["data.json", "longbench_v2.json", "longbench_v2.jsonl"])
def test_parts_and_limits(name: str, tmp_path: Path) -> None:
    folder = write(tmp_path, [row(number) for number in range(12)], name)

    def ids(task: str, limit: int | None = None) -> list[str]:
        return [record.record_id for record in get_spec(task).records(limit, folder)]

    assert ids("longbench_v2") == [f"id{number}" for number in range(12)]
    assert ids("longbench_v2", 2) == ["id3", "id9"]  # spread over the lengths
    assert ids("longbench_v2_easy") == [f"id{number}" for number in range(0, 12, 2)]
    assert ids("longbench_v2_long") == ["id2", "id5", "id8", "id11"]
    spec = get_spec("longbench_v2")
    assert data_name([(spec, spec.records(None, folder))]) == "subset of LongBench v2"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(0, answer="E")], r"data.json record 1: field 'answer' is 'E', valid are A, B, C, D"),
        ([row(0), row(1, length=7)], r"record 2: field 'length' is 7, valid are short, medium"),
        ([row(0, choice_C=" ")], r"field 'choice_C' must be text that is not empty"),
        ([row(0, context="\ud800")], r"field 'context' is not Unicode text"),
        ([row(0), row(0)], r"record 2: field '_id' 'id0' occurs twice"),
        ([], "holds no record"),
        ({"rows": []}, "a list of JSON objects was expected"),
        ([3], "a list of JSON objects was expected"),
    ],
)
def test_faults_name_the_record_and_the_field(rows: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=message):
        get_spec("longbench_v2").records(None, write(tmp_path, rows))


def test_a_missing_folder_file_or_part_says_what_to_do(tmp_path: Path) -> None:
    spec = get_spec("longbench_v2")
    with pytest.raises(
        TaskError, match="set task.data_dir to a folder with LongBench v2's data.js"
    ):
        spec.records(None)
    with pytest.raises(TaskError, match="has no longbench_v2.json or data.json"):
        spec.records(None, str(tmp_path))
    with pytest.raises(TaskError, match="is not a directory"):
        spec.records(None, str(tmp_path / "none"))
    (tmp_path / "data.json").write_text("[{")
    with pytest.raises(TaskError, match=r"data.json: not JSON"):
        spec.records(None, str(tmp_path))
    folder = write(tmp_path, [row(0)])
    with pytest.raises(TaskError, match="no record is long, for task 'longbench_v2_long'"):
        get_spec("longbench_v2_long").records(None, folder)
