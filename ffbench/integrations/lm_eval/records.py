"""LongBench records as lm-eval's documents: what the task files of `lm_eval_tasks` point at."""

from typing import Any

from ffbench.tasks.base import TaskRecord
from ffbench.tasks.registry import get_spec

PREFIX = "ffbench_longbench_"


def document(record: TaskRecord) -> dict[str, Any]:
    """A record as lm-eval's document."""
    return {
        "task": record.task,
        "record_id": record.record_id,
        "context": record.context,
        "question": record.question,
        "answers": list(record.answers),
        "all_classes": list(record.all_classes),
        "length": record.length,
    }


def record_of(doc: dict[str, Any]) -> TaskRecord:
    """The record of a document."""
    return TaskRecord(
        doc["record_id"],
        doc["task"],
        doc["context"],
        doc["question"],
        tuple(doc["answers"]),
        tuple(doc["all_classes"]),
        doc["length"],
    )


def dataset(
    longbench_task: str, data_dir: str | None = None, limit: int | None = None, **others: Any
) -> dict[str, Any]:
    """The documents of a task, split `test`; from a folder or the hub, evenly spaced over lengths
    with `limit`.

    lm-eval passes the task's metadata and what `--metadata` holds. Raises TaskError as `python -m
    ffbench` does.
    """
    from datasets import Dataset

    return {
        "test": Dataset.from_list(
            [document(r) for r in get_spec(longbench_task).records(limit, data_dir)]
        )
    }


def prompt_text(doc: dict[str, Any]) -> str:
    """LongBench's prompt, without a chat template."""
    return str(doc["context"] + doc["question"])


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """The score of an answer in points."""
    return {"score": get_spec(doc["task"]).points(results[0], record_of(doc))}
