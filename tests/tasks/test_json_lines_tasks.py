"""Tasks defined by a configuration: prompts from fields, metrics, and every fault of a definition."""

import json
from pathlib import Path
from typing import Any

import pytest

from ffbench.tasks.base import TASKS, TaskError, TaskRecord
from ffbench.tasks.json_lines import definition_problems, filled_in
from ffbench.tasks.metrics import METRICS
from ffbench.tasks.registry import get_spec, task_names

DEFINITION = {
    "context": "Ticket {number}:\n{text}\n",
    "question": "Q: {ask}\nA:",
    "gold": "answer",
    "metric": "f1",
    "max_new_tokens": 8,
}
ROW = {"number": 7, "text": "The {cat} sat.", "ask": "who?", "answer": ["the cat", "cat"]}


def write(folder: Path, *rows: dict[str, Any], name: str = "tickets.jsonl") -> str:
    (folder / name).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(folder)


def records(folder: str, limit: int | None = None, **changes: Any) -> list[TaskRecord]:
    return get_spec("tickets", {"tickets": DEFINITION | changes}).records(limit, folder)


def test_prompts_are_made_from_the_fields(tmp_path: Path) -> None:
    (record,) = records(write(tmp_path, ROW))
    assert record.context == "Ticket 7:\nThe {cat} sat.\n" and record.question == "Q: who?\nA:"
    assert record.answers == ("the cat", "cat") and record.record_id == "1"
    (named,) = records(write(tmp_path, ROW, name="other.jsonl"), file="other.jsonl", id="number")
    assert named.record_id == "7"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{a}{b}", "x3"),
        ("{{a}}", "{a}"),
        ('{"k": {a}}', '{"k": x}'),
        ("{ a } {} }", "{ a } {} }"),
        ("{{{a}}}", "{x}"),
    ],
)
def test_braces(template: str, text: str) -> None:
    assert filled_in(template, {"a": "x", "b": 3}, "here") == text


def test_records_are_spread_over_their_lengths_and_read_again_when_the_file_changes(
    tmp_path: Path,
) -> None:
    folder = write(tmp_path, *(ROW | {"number": n, "text": "w " * (9 - n)} for n in range(9)))
    assert [r.context.split(":")[0] for r in records(folder, 3)] == [
        "Ticket 7",
        "Ticket 4",
        "Ticket 1",
    ]
    write(tmp_path, ROW)
    assert len(records(folder)) == 1


@pytest.mark.parametrize(
    ("metric", "prediction", "points"),
    [
        ("exact_match", "A cat!", 100.0),
        ("exact_match", "cat sat", 0.0),
        ("string_match_part", "it is CAT5", 100.0),
        ("string_match_all", "it is CAT5", 50.0),
        ("f1", "red cat", 200 / 3),
        ("code_similarity", "cat", 100.0),
        ("number_share", "cat cat", 0.0),
    ],
)
def test_metrics(metric: str, prediction: str, points: float, tmp_path: Path) -> None:
    spec = get_spec("tickets", {"tickets": DEFINITION | {"metric": metric}})
    (record,) = spec.records(None, write(tmp_path, ROW | {"answer": ["cat", "the dog"]}))
    assert spec.points(prediction, record) == pytest.approx(points)


def test_a_task_that_stops_at_a_line_is_scored_on_it(tmp_path: Path) -> None:
    by_line = get_spec("tickets", {"tickets": DEFINITION | {"stop": "line"}})
    (record,) = by_line.records(None, write(tmp_path, ROW))
    assert by_line.points("\ncat\ndog", record) == 100.0
    assert get_spec("tickets", {"tickets": DEFINITION}).points("cat\ndog", record) < 100.0


def test_chance_is_the_score_of_the_next_answer(tmp_path: Path) -> None:
    spec = get_spec("tickets", {"tickets": DEFINITION})
    rows = [ROW | {"answer": answer} for answer in ("red cat", "red dog", "blue")]
    assert spec.chance_points(spec.records(None, write(tmp_path, *rows))) == pytest.approx(50 / 3)
    assert spec.chance_points(spec.records(1, str(tmp_path))) is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"text": None},
            r"tickets.jsonl line 2: field 'text' must be text or a number, got nothing",
        ),
        ({"number": True}, "field 'number' must be text or a number, got bool"),
        ({"answer": " "}, "line 2: field 'answer' must be a gold answer that is not empty"),
        ({"answer": []}, "field 'answer' must be a gold answer"),
        ({"answer": ["x", {}]}, "field 'answer' must be a gold answer"),
    ],
)
def test_faults_of_records_name_line_and_field(
    row: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(TaskError, match=message):
        records(write(tmp_path, ROW, ROW | row))


def test_a_file_that_is_missing_empty_or_names_a_record_twice(tmp_path: Path) -> None:
    with pytest.raises(
        TaskError, match=r"no file tickets.jsonl or tickets.jsonl.gz; set task.data_"
    ):
        records(str(tmp_path))
    with pytest.raises(TaskError, match="no record for task 'tickets'"):
        records(write(tmp_path))
    with pytest.raises(TaskError, match="line 2: field 'number' '7' occurs twice"):
        records(write(tmp_path, ROW, ROW), id="number")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "F1"}, "metric: 'F1' is unknown; did you mean 'f1'? Valid: exact_match, "),
        ({"stop": "lines"}, "stop: 'lines' is unknown; did you mean 'line'?"),
        ({"max_new_tokens": 0}, "max_new_tokens: 0 is below 1"),
        ({"max_new_tokens": "8"}, "max_new_tokens: must be int, got '8'"),
        ({"promt": "x"}, "promt: no such key"),
        ({"context": "no field", "question": ""}, "context: names no field of the records"),
        ({"chat": "no"}, "chat: must be bool, got 'no'"),
    ],
)
def test_faults_of_a_definition(changes: dict[str, Any], message: str) -> None:
    (problem,) = definition_problems({"tickets": DEFINITION | changes}, TASKS)
    assert problem.startswith("task.json_lines.tickets.") and message in problem
    with pytest.raises(TaskError, match="task.json_lines.tickets"):
        get_spec("tickets", {"tickets": DEFINITION | changes})


def test_all_faults_are_told_at_once() -> None:
    bad = {"gld": "answer", "metric": "no", "max_new_tokens": 0, "context": "{a}"}
    told = definition_problems({"t": bad}, TASKS)
    assert [problem.split(":")[0].rpartition(".")[2] for problem in told] == [
        "gld",
        "gold",
        "metric",
        "max_new_tokens",
    ]
    assert definition_problems({"a": 3, "qasper": DEFINITION, "b": {}}, TASKS) == [
        "task.json_lines.a: must be a mapping with context, gold, metric and max_new_tokens",
        "task.json_lines.qasper: a task of this name is built in; choose another name",
        "task.json_lines.b.context: must be given",
        "task.json_lines.b.gold: must be given",
        "task.json_lines.b.metric: must be given",
        "task.json_lines.b.max_new_tokens: must be given",
    ]


def test_a_metric_without_its_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ffbench.tasks.metrics.find_spec", lambda name: None)
    (problem,) = definition_problems({"t": DEFINITION | {"metric": "rouge_l"}}, TASKS)
    assert "rouge_l needs the package rouge" in problem and "ffbench[eval]" in problem
    assert not METRICS["f1"].missing


def test_defined_tasks_are_among_the_valid_names() -> None:
    assert "tickets" in task_names({"tickets": DEFINITION}) and "tickets" not in task_names()
    with pytest.raises(TaskError, match="did you mean 'tickets'"):
        get_spec("ticket", {"tickets": DEFINITION})
