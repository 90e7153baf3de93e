"""Records whose contexts are made as long as the prompt may be."""

from functools import lru_cache
from typing import Any

from ffbench.evaluation.prompts import prompt_size
from ffbench.tasks.base import TaskError, TaskRecord, TaskSpec, Work


@lru_cache(maxsize=8)  # every run of a sweep asks
def filled_task(
    tokenizer: Any, spec: TaskSpec, records: tuple[TaskRecord, ...], max_length: int
) -> list[TaskRecord]:
    """The records of a task with `fill`, each with the context that fills `max_length`."""
    if spec.fill is None:
        raise ValueError(f"task {spec.name!r} has no fill")
    room = max_length - spec.max_new_tokens
    return [
        spec.fill(record, lambda longer: prompt_size(tokenizer, spec, longer), room)
        for record in records
    ]


def filled(tokenizer: Any, work: Work, max_length: int) -> Work:
    """The tasks with their records; where a task has `fill`, prompt and answer take up to
    `max_length` tokens, the chat template included.

    Raises TaskError with every task for which that is too short.
    """
    done, problems = [], []
    for spec, records in work:
        try:
            longer = (
                filled_task(tokenizer, spec, tuple(records), max_length) if spec.fill else records
            )
            done.append((spec, longer))
        except TaskError as error:
            problems.append(str(error))
    if problems:
        raise TaskError("; ".join(problems))
    return done
