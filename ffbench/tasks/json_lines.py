"""Tasks that a configuration defines: prompts from the fields of a JSON Lines file."""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from ffbench.data.json_lines import SUFFIXES, DataFileError, read_json_lines
from ffbench.suggestions import suggestion
from ffbench.tasks.base import (
    STOPS,
    RecordChoice,
    TaskError,
    TaskRecord,
    TaskSpec,
    add_record,
    choose_evenly,
)
from ffbench.tasks.longbench.metrics import first_line
from ffbench.tasks.metrics import METRICS, other_answer_chance

PART = re.compile(r"\{\{|\}\}|\{(\w+)\}")
SETTING = "task.json_lines"


def named_fields(template: str) -> list[str]:
    """The fields that a template names, each once."""
    return list(dict.fromkeys(part[1] for part in PART.finditer(template) if part[1]))


def filled_in(template: str, row: Mapping[str, Any], place: str) -> str:
    """The template with {field} replaced; {{ and }} are braces, other braces stay.

    Raises TaskError naming `place` if a field is missing, or is neither text nor a number.
    """

    def replaced(part: re.Match[str]) -> str:
        if not part[1]:
            return part[0][0]
        value = row.get(part[1])
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise TaskError(
                f"{place}: field {part[1]!r} must be text or a number, got {kind_of(value)}; the "
                f"record has {', '.join(sorted(row)) or 'no fields'}"
            )
        return str(value)

    return PART.sub(replaced, template)


def kind_of(value: Any) -> str:
    """What a value is, in JSON's words."""
    return "nothing" if value is None else type(value).__name__


def gold_answers(value: Any, field: str, place: str) -> tuple[str, ...]:
    """The accepted answers: a text, a number, or a list of them. Raises TaskError."""
    values = value if isinstance(value, list) else [value]
    good = [v for v in values if isinstance(v, (str, int, float)) and not isinstance(v, bool)]
    answers = tuple(str(v) for v in good if str(v).strip())
    if len(good) < len(values) or not answers:
        raise TaskError(
            f"{place}: field {field!r} must be a gold answer that is not empty, or a list of them; "
            f"got {kind_of(value)}"
        )
    return answers


@dataclass(frozen=True)
class JsonLinesTask:
    """A task by its definition.

    context, question: the two parts of the prompt, with {field} for the fields of a record; with
    `task.protocol=context` the question runs dense. gold: the field of the answer, or of a list of
    accepted ones. metric: how answers are scored. max_new_tokens: the longest answer. file: in
    task.data_dir (default: NAME.jsonl or NAME.jsonl.gz). id: the field that names a record
    (default: its line). chat: whether the chat template goes around the prompt. stop: what ends an
    answer before its limit; with `line` the first line is what is scored.
    """

    context: str
    gold: str
    metric: str
    max_new_tokens: int
    question: str = ""
    file: str = ""
    id: str = ""
    chat: bool = True
    stop: str = "end"


def problems_of(name: str, node: Any) -> list[str]:
    """Everything that is wrong with a definition, one sentence each."""
    where = f"{SETTING}.{name}"
    if not isinstance(node, Mapping):
        return [f"{where}: must be a mapping with context, gold, metric and max_new_tokens"]
    kinds = {field.name: field for field in fields(JsonLinesTask)}
    good: dict[str, Any] = {}
    problems = [
        f"{where}.{key}: no such key{suggestion(str(key), kinds)} Valid: {', '.join(kinds)}"
        for key in node
        if key not in kinds
    ]
    for key, field in kinds.items():
        if key not in node:
            if field.default is MISSING:
                problems.append(f"{where}.{key}: must be given")
            continue
        kind: Any = {"max_new_tokens": int, "chat": bool}.get(key, str)
        if type(node[key]) is not kind:
            problems.append(f"{where}.{key}: must be {kind.__name__}, got {node[key]!r}")
        else:
            good[key] = node[key]
    return problems + value_problems(where, good)


def value_problems(where: str, node: Mapping[str, Any]) -> list[str]:
    """Values outside their ranges, among those that have the right type."""
    problems = []
    for key, valid in (("metric", METRICS), ("stop", STOPS)):
        if key in node and node[key] not in valid:
            problems.append(
                f"{where}.{key}: {node[key]!r} is unknown{suggestion(node[key], valid)} "
                f"Valid: {', '.join(valid)}"
            )
    metric = METRICS.get(node.get("metric", ""))
    if metric and metric.missing:
        problems.append(
            f"{where}.metric: {node['metric']} needs the package {metric.package}, which is not "
            "installed; install it with: pip install 'ffbench[eval]'"
        )
    if node.get("max_new_tokens", 1) < 1:
        problems.append(f"{where}.max_new_tokens: {node['max_new_tokens']} is below 1")
    if "context" in node and not named_fields(node["context"] + node.get("question", "")):
        problems.append(f"{where}.context: names no field of the records; write {{field}}")
    return problems


def definition_problems(definitions: Mapping[str, Any], taken: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with some definitions; `taken` holds the names of other tasks."""
    problems = []
    for name, node in definitions.items():
        if name in taken:
            problems.append(
                f"{SETTING}.{name}: a task of this name is built in; choose another name"
            )
        problems += problems_of(str(name), node)
    return problems


def file_of(name: str, task: JsonLinesTask, data_dir: str | None) -> Path:
    """The file of a task. Raises TaskError if it is not there."""
    folder = Path(data_dir or ".").expanduser()
    names = [task.file] if task.file else [name + suffix for suffix in SUFFIXES]
    for file in names:
        if (folder / file).is_file():
            return folder / file
    raise TaskError(
        f"task {name!r}: {folder} has no file {' or '.join(names)}; set task.data_dir to its "
        f"folder, or {SETTING}.{name}.file to its name"
    )


@lru_cache(maxsize=64)
def records_of(name: str, task: JsonLinesTask, path: Path, modified: int) -> list[TaskRecord]:
    """Every record of a file, read anew if its time of change `modified` (ns) is another.

    Raises TaskError for the first record that is malformed, or if there is none.
    """
    records: dict[str, TaskRecord] = {}
    try:
        for place, row in read_json_lines(path):
            record = TaskRecord(
                filled_in(f"{{{task.id}}}", row, place) if task.id else place.rpartition(" ")[2],
                name,
                filled_in(task.context, row, place),
                filled_in(task.question, row, place),
                gold_answers(row.get(task.gold), task.gold, place),
            )
            add_record(records, record, place=place, field=task.id)
    except DataFileError as error:
        raise TaskError(str(error)) from error
    if not records:
        raise TaskError(f"{path}: no record for task {name!r}")
    return list(records.values())


def load(name: str, task: JsonLinesTask, choice: RecordChoice) -> list[TaskRecord]:
    """The records of a task, spread over their lengths."""
    path = file_of(name, task, choice.data_dir)
    return choose_evenly(records_of(name, task, path, path.stat().st_mtime_ns), choice.limit)


def score(task: JsonLinesTask, prediction: str, record: TaskRecord) -> float:
    """The metric of an answer; of its first line if the task stops there."""
    text = first_line(prediction) if task.stop == "line" else prediction
    return METRICS[task.metric].score(text, record)


@lru_cache(maxsize=64)
def spec_of(name: str, task: JsonLinesTask) -> TaskSpec:
    """A definition as a task."""
    scorer = partial(score, task)
    return TaskSpec(
        name=name,
        category="custom",
        metric=task.metric,
        max_new_tokens=task.max_new_tokens,
        load=partial(load, name, task),
        score=scorer,
        chance=partial(other_answer_chance, scorer),
        chat=task.chat,
        stop=task.stop,
        definition=task.metric,
    )


def defined_task(name: str, node: Any) -> TaskSpec:
    """The task of a definition. Raises TaskError with everything that is wrong with it."""
    if problems := problems_of(name, node):
        raise TaskError("\n".join(problems))
    return spec_of(name, JsonLinesTask(**node))
