"""The scored tasks by name."""

from collections.abc import Mapping
from typing import Any

import ffbench.tasks.embedded
import ffbench.tasks.longbench.tasks
import ffbench.tasks.longbench_v2
import ffbench.tasks.ruler.tasks  # noqa: F401
from ffbench.suggestions import unknown_name
from ffbench.tasks.base import TASKS, TaskError, TaskSpec
from ffbench.tasks.json_lines import defined_task


def task_names(definitions: Mapping[str, Any] | None = None) -> list[str]:
    """Every registered task, and those that `definitions` (task.json_lines) adds."""
    return sorted({*TASKS, *(definitions or {})})


def get_spec(name: str, definitions: Mapping[str, Any] | None = None) -> TaskSpec:
    """The task called `name`, registered or defined; TaskError with the nearest name if there is
    none.
    """
    if name in TASKS:
        return TASKS[name]
    if definitions and name in definitions:
        return defined_task(name, definitions[name])
    raise TaskError(unknown_name("task", name, task_names(definitions)))
