"""The scored tasks by name."""

from difflib import get_close_matches

import ffbench.tasks.embedded
import ffbench.tasks.longbench.tasks  # noqa: F401
from ffbench.tasks.base import TASKS, TaskError, TaskSpec


def task_names() -> list[str]:
    """Every registered task."""
    return sorted(TASKS)


def get_spec(name: str) -> TaskSpec:
    """The task called `name`; TaskError with the nearest name if there is none."""
    names = task_names()
    if name not in TASKS:
        near = get_close_matches(name, names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise TaskError(f"task {name!r} is unknown{hint} Valid tasks: {', '.join(names)}")
    return TASKS[name]
