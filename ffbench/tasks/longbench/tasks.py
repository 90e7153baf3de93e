"""The 21 LongBench and 13 LongBench-E tasks (THUDM/LongBench, MIT): prompts, rules, records and
scores.
"""

import ast
import json
from collections.abc import Callable
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ffbench.data.json_lines import DataFileError, read_json_lines
from ffbench.tasks.base import (
    RecordChoice,
    TaskError,
    TaskRecord,
    TaskSpec,
    add_record,
    add_task,
    choose_evenly,
)
from ffbench.tasks.longbench import metrics as scores
from ffbench.tasks.longbench.records import source
from ffbench.tasks.metrics import other_answer_chance

SUITE, EXTENDED = "LongBench", "LongBench-E"
RULES: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("tasks.json").read_text(encoding="utf-8")
)


def prompt(rule: dict[str, Any], context: str, question: str) -> tuple[str, str]:
    """The prompt in two parts: all up to the end of the context, and what follows it."""
    head, tail = rule["template"].split("{context}")
    return head + context, tail.replace("{input}", question)


def class_names(value: Any) -> tuple[str, ...]:
    """`all_classes` of a record: null, a list, or a list written as text.

    Raises ValueError or SyntaxError otherwise.
    """
    names = ast.literal_eval(value) if isinstance(value, str) and value.strip() else value or []
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ValueError("is not a list of text")
    return tuple(names)


FIELDS = {
    "_id": str,
    "dataset": str,
    "input": str,
    "context": str,
    "answers": list,
    "length": int,
}


def check_answers(row: dict[str, Any], place: str, rule: dict[str, Any]) -> None:
    """Raise TaskError naming `place` if a record's gold answers cannot be scored."""
    answers = row["answers"]
    if not answers or not all(isinstance(answer, str) for answer in answers):
        raise TaskError(f"{place}: field 'answers' must hold at least one text, and only text")
    if not any(answer.strip() for answer in answers):
        raise TaskError(f"{place}: field 'answers' holds empty text only")
    if rule["metric"] == "retrieval":
        for answer in answers:
            if scores.gold_paragraph(answer, rule.get("chinese", False)) is None:
                raise TaskError(
                    f"{place}: field 'answers' holds {answer!r}, which names no paragraph; "
                    f"expected {'段落3' if rule.get('chinese') else 'Paragraph 3'}"
                )


def parse(row: dict[str, Any], place: str, task: str, rule: dict[str, Any]) -> TaskRecord | None:
    """The record of a row, None if it is of another split. Raises TaskError naming `place` and the
    field.
    """
    for field, kind in FIELDS.items():
        value = row.get(field)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TaskError(
                f"{place}: field {field!r} must be {kind.__name__}, got {type(value).__name__}"
            )
    if not row["_id"]:
        raise TaskError(f"{place}: field '_id' is empty; each record needs a name of its own")
    if row["dataset"] != task:
        return None
    check_answers(row, place, rule)
    try:
        classes = class_names(row.get("all_classes"))
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        # the parser's error for too many brackets is a MemoryError in Python 3.11
        raise TaskError(f"{place}: field 'all_classes' {error or 'is nested too deeply'}") from None
    if rule["metric"] == "classification" and not classes:
        raise TaskError(f"{place}: field 'all_classes' must name the classes")
    context, question = prompt(rule, row["context"], row["input"])
    return TaskRecord(
        row["_id"], task, context, question, tuple(row["answers"]), classes, row["length"]
    )


@lru_cache(maxsize=64)
def records_of(task: str, path: Path, member: str | None, modified: int) -> tuple[TaskRecord, ...]:
    """Every record of a task in a file, read anew if its time of change `modified` (ns) is another.

    Raises TaskError for the first record that is malformed, or if there is none.
    """
    records: dict[str, TaskRecord] = {}
    try:
        for place, row in read_json_lines(path, member):
            record = parse(row, place, task, rule_of(task))
            if record is not None:
                add_record(records, record, place=place, field="_id")
    except DataFileError as error:
        raise TaskError(str(error)) from error
    if not records:
        raise TaskError(f"{member or path.name}: no record has dataset {task!r}")
    return tuple(records.values())


def rule_of(task: str) -> dict[str, Any]:
    """Prompt, limits and metric of a task."""
    return RULES[task.removesuffix("_e")]


def missing_packages(rule: dict[str, Any]) -> list[str]:
    """Packages that a task's metric needs and that are not installed."""
    needed = ["rouge"] * (rule["metric"] == "rouge_l")
    needed += ["jieba"] * (rule.get("chinese", False) and rule["metric"] in ("f1", "rouge_l"))
    return [name for name in needed if find_spec(name) is None]


def load(task: str, choice: RecordChoice) -> list[TaskRecord]:
    """The records of a task, chosen by `choose_evenly`, from a folder or (None) the published
    archive.
    """
    missing = missing_packages(rule_of(task))
    if missing:
        raise TaskError(
            f"task {task!r} is scored with {' and '.join(missing)}, which is not installed; "
            "install it with: pip install 'ffbench[eval]'"
        )
    path, member = source(task, choice.data_dir)
    records = records_of(task, path, member, path.stat().st_mtime_ns)
    return choose_evenly(list(records), choice.limit)


def score(rule: dict[str, Any], prediction: str, record: TaskRecord) -> float:
    """Best score over the gold answers, points."""
    if rule.get("first_line"):
        prediction = scores.first_line(prediction)
    chinese = rule.get("chinese", False)
    metrics: dict[str, Callable[[str, str], float]] = {
        "f1": partial(scores.f1, chinese=chinese),
        "rouge_l": partial(scores.rouge_l, chinese=chinese),
        "retrieval": partial(scores.retrieval, chinese=chinese),
        "count": scores.number_share,
        "classification": partial(scores.classification, classes=record.all_classes),
        "code_similarity": scores.code_similarity,
    }
    return max(metrics[rule["metric"]](prediction, gold) for gold in record.answers)


@lru_cache(maxsize=64)  # ROUGE of long summaries takes seconds, and every run of a sweep asks
def chance(task: str, records: tuple[TaskRecord, ...]) -> float | None:
    """`other_answer_chance`, computed once."""
    return other_answer_chance(partial(score, rule_of(task)), records)


def register(task: str, suite: str, published: int) -> None:
    """Add one task of a suite, of `published` records in all, to the registry."""
    rule = rule_of(task)
    add_task(
        TaskSpec(
            name=task,
            category=rule["category"],
            metric=rule["metric"],
            max_new_tokens=rule["max_new_tokens"],
            load=partial(load, task),
            score=partial(score, rule),
            chance=lambda records: chance(task, tuple(records)),
            headline=rule.get("headline", True),
            chat=rule.get("chat", True),
            stop=rule.get("stop", "end"),
            suite=suite,
            published=published,
            length_buckets=suite == EXTENDED,
        )
    )


for name, rules in RULES.items():
    register(name, SUITE, rules["records"])
    if rules["records_extended"]:
        register(f"{name}_e", EXTENDED, rules["records_extended"])
