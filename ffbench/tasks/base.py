"""What a task is: its records, its prompt rules and its score."""

from collections.abc import Callable
from dataclasses import dataclass, field


class TaskError(ValueError):
    """A task or its data cannot be used; the text says what and where."""


@dataclass(frozen=True)
class TaskRecord:
    """One scored prompt: the text before the question, the question, and the accepted answers.

    `stated_length` is the length that the record itself gives (LongBench's field `length`).
    """

    record_id: str
    task: str
    context: str
    question: str
    answers: tuple[str, ...]
    all_classes: tuple[str, ...] = ()
    stated_length: int | None = None

    @property
    def length(self) -> int:
        """The stated length, else the words of the context."""
        return len(self.context.split()) if self.stated_length is None else self.stated_length


def never(text: str) -> bool:
    """False: the answer goes on to its limit or an end token."""
    return False


def line_complete(text: str) -> bool:
    """Whether the first line after leading newlines is complete: what follows it is not scored."""
    return "\n" in text.lstrip("\n")


def code_line_complete(text: str) -> bool:
    """Whether the first line without backtick, '#' and '//' is complete: what follows it is not
    scored.
    """
    return any(
        not any(mark in line for mark in CODE_MARKS) for line in text.lstrip("\n").split("\n")[:-1]
    )


CODE_MARKS = ("`", "#", "//")
STOPS: dict[str, Callable[[str], bool]] = {
    "end": never,
    "newline_token": never,
    "line": line_complete,
    "code_line": code_line_complete,
}


def choose_evenly(records: list[TaskRecord], limit: int | None) -> list[TaskRecord]:
    """`limit` records spread evenly over the lengths: of n sorted by (length, id), the ranks
    floor((2i+1) n / 2 limit).

    All of them, in that order, where `limit` is None or not below n. The same records give the same
    choice in whatever order they come.
    """
    ranked = sorted(records, key=lambda record: (record.length, record.record_id))
    if limit is None or limit >= len(ranked):
        return ranked
    return [ranked[(2 * i + 1) * len(ranked) // (2 * limit)] for i in range(limit)]


@dataclass(frozen=True)
class TaskSpec:
    """A task: how to load its records, score an answer (points, 0 to 100), and what a guess scores.

    `stop` ends an answer before its limit: at an end token only ("end"), at a newline token too but
    never before one token ("newline_token"), or where the text shows that nothing more is scored
    ("line", "code_line"). `chat` puts the model's chat template around the prompt; `published` is
    the number of records of the whole task.
    """

    name: str
    category: str
    metric: str
    max_new_tokens: int
    load: Callable[[int | None], list[TaskRecord]]
    score: Callable[[str, TaskRecord], float]
    chance: Callable[[list[TaskRecord]], float | None]
    headline: bool = True
    groups: tuple[str, ...] = field(default=())
    chat: bool = False
    stop: str = "end"
    published: int | None = None
    load_folder: Callable[[str | None, int | None], list[TaskRecord]] | None = None

    def records(self, limit: int | None, data_dir: str | None = None) -> list[TaskRecord]:
        """The test records: from `data_dir` where the task reads a folder; TaskError where they
        cannot be had.
        """
        return self.load(limit) if self.load_folder is None else self.load_folder(data_dir, limit)


TASKS: dict[str, TaskSpec] = {}


def add_task(spec: TaskSpec) -> TaskSpec:
    """Register a task under its name."""
    TASKS[spec.name] = spec
    return spec
