"""What a task is, and the tasks and groups by name."""

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches


class TaskError(ValueError):
    """A task or its data cannot be used; the text says what and where."""


@dataclass(frozen=True)
class TaskRecord:
    """One scored prompt: the text before the question, the question, and the accepted answers."""

    record_id: str
    task: str
    context: str
    question: str
    answers: tuple[str, ...]
    all_classes: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """Words of the context."""
        return len(self.context.split())


@dataclass(frozen=True)
class TaskSpec:
    """A task: how to load its records, score an answer (points, 0 to 100), and what a guess scores."""

    name: str
    category: str
    metric: str
    max_new_tokens: int
    load: Callable[[str, int | None], list[TaskRecord]]
    score: Callable[[str, TaskRecord], float]
    chance: Callable[[list[TaskRecord]], float | None]
    headline: bool = True
    groups: tuple[str, ...] = field(default=())
    chat: bool = False
    one_line: bool = False
    load_folder: Callable[[str | None, int | None], list[TaskRecord]] | None = None

    def records(self, limit: int | None, data_dir: str | None = None) -> list[TaskRecord]:
        """The test records: from `data_dir` where the task reads a folder; TaskError where they cannot be had."""
        return self.load("test", limit) if self.load_folder is None else self.load_folder(data_dir, limit)


TASKS: dict[str, TaskSpec] = {}


def add_task(spec: TaskSpec) -> TaskSpec:
    """Register a task under its name."""
    TASKS[spec.name] = spec
    return spec


def task_names() -> list[str]:
    """Every registered task."""
    import ffbench.tasks.embedded
    import ffbench.tasks.longbench  # noqa: F401

    return sorted(TASKS)


def get_spec(name: str) -> TaskSpec:
    """The task called `name`; TaskError with the nearest name when there is none."""
    names = task_names()
    if name not in TASKS:
        near = get_close_matches(name, names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TaskError(f"task {name!r} is unknown{hint} Valid: {', '.join(names)}")
    return TASKS[name]
