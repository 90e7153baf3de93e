"""What a task is: its records, its prompt rules and its score."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)

REASON_CHARACTERS = 200  # of a scorer's error, kept with the answer


class TaskError(ValueError):
    """A task or its data cannot be used; the message says what and where."""


@dataclass(frozen=True)
class TaskRecord:
    """One scored prompt: the text before the question, the question, and the accepted answers.

    `stated_length` is the length that the record itself gives (LongBench's field `length`).
    `answer_prefix` opens the answer: the model continues it. `gold` is the answer whose likelihood
    is measured; the first of `answers` if it is empty. A record of a task with `fill` has no
    context yet: `recipe` names everything that its context will be made from.
    """

    record_id: str
    task: str
    context: str
    question: str
    answers: tuple[str, ...]
    all_classes: tuple[str, ...] = ()
    stated_length: int | None = None
    answer_prefix: str = ""
    gold: str = ""
    recipe: str = ""

    @property
    def length(self) -> int:
        """The stated length, else the number of words of the context."""
        return len(self.context.split()) if self.stated_length is None else self.stated_length


def add_record(
    records: dict[str, TaskRecord], record: TaskRecord, *, place: str, field: str
) -> None:
    """Add a record under its id. Raises TaskError naming `place` and the id's `field` if another
    one has that id.
    """
    if record.record_id in records:
        raise TaskError(f"{place}: field {field!r} {record.record_id!r} occurs twice")
    records[record.record_id] = record


def never(text: str) -> bool:
    """False: the answer continues to its limit or an end token."""
    return False


def line_complete(text: str) -> bool:
    """Whether the first line after leading newlines is complete: what follows it is not scored."""
    return "\n" in text.lstrip("\n")


def is_code(line: str) -> bool:
    """Whether a line holds no backtick and no comment mark, by LongBench's rule."""
    return not any(mark in line for mark in ("`", "#", "//"))


def first_code_line(text: str) -> str:
    """The first line that `is_code` takes, after leading newlines; "" if there is none."""
    return next(filter(is_code, text.lstrip("\n").split("\n")), "")


def code_line_complete(text: str) -> bool:
    """Whether the first line of code is complete: what follows it is not scored."""
    return any(map(is_code, text.lstrip("\n").split("\n")[:-1]))


STOPS: dict[str, Callable[[str], bool]] = {
    "end": never,
    "newline_token": never,
    "line": line_complete,
    "code_line": code_line_complete,
}


def choose_evenly(records: list[TaskRecord], limit: int | None) -> list[TaskRecord]:
    """`limit` records spread evenly over the lengths: of n sorted by (length, id), the ranks
    floor((2i+1) n / 2 limit).

    All of them, in that order, if `limit` is None or not below n. The same records give the same
    choice in whatever order they come.
    """
    ranked = sorted(records, key=lambda record: (record.length, record.record_id))
    if limit is None or limit >= len(ranked):
        return ranked
    return [ranked[(2 * i + 1) * len(ranked) // (2 * limit)] for i in range(limit)]


@dataclass(frozen=True)
class RecordChoice:
    """Which records are wanted: how many (None: all), the folder that holds them (None: the task's
    own source), and the seed of records that are generated.
    """

    limit: int | None = None
    data_dir: str | None = None
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """A task: how to load its records, score an answer (points, 0 to 100), and what a guess scores.

    `stop` ends an answer before its limit: at an end token only ("end"), at a newline token too but
    never before one token ("newline_token"), or once the text holds all that is scored ("line",
    "code_line"). `chat` puts the model's chat template around the prompt. `suite` is the benchmark
    that the task belongs to, `published` the number of records of the whole task, and
    `length_buckets` asks for metrics by length. `fill` makes a record's context as long as the
    prompt may be: it gets the record, a function that gives the tokens of a record's prompt, and
    the tokens that there is room for. `definition` is what of a user's own definition changes
    scores but no prompt.
    """

    name: str
    category: str
    metric: str
    max_new_tokens: int
    load: Callable[[RecordChoice], list[TaskRecord]]
    score: Callable[[str, TaskRecord], float]
    chance: Callable[[list[TaskRecord]], float | None]
    headline: bool = True
    groups: tuple[str, ...] = field(default=())
    chat: bool = False
    stop: str = "end"
    suite: str | None = None
    published: int | None = None
    length_buckets: bool = False
    fill: Callable[[TaskRecord, Callable[[TaskRecord], int], int], TaskRecord] | None = None
    definition: str = ""

    def records(
        self, limit: int | None, data_dir: str | None = None, seed: int = 0
    ) -> list[TaskRecord]:
        """The test records, read from `data_dir` if the task reads a folder, made with `seed` if
        they are generated.

        Raises TaskError if they cannot be had.
        """
        return self.load(RecordChoice(limit, data_dir, seed))

    def points(self, prediction: str, record: TaskRecord) -> float:
        """The points of `graded`."""
        return self.graded(prediction, record)[0]

    def graded(self, prediction: str, record: TaskRecord) -> tuple[float, str | None]:
        """`score` and None, or 0 and why the scorer failed, with a warning: hours of answers must
        not be lost to one text that a scorer cannot take.
        """
        try:
            return self.score(prediction, record), None
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            logger.warning(
                "%s, record %r: the scorer failed (%s); the answer counts 0 points",
                self.name,
                record.record_id,
                reason,
            )
            return 0.0, reason.partition("\n")[0][:REASON_CHARACTERS]

    def chance_points(self, records: list[TaskRecord]) -> float | None:
        """`chance`, but None with a warning if the scorer fails."""
        try:
            return self.chance(records)
        except Exception as error:
            logger.warning(
                "%s: chance cannot be computed (%s: %s)", self.name, type(error).__name__, error
            )
            return None


Work = list[tuple[TaskSpec, list[TaskRecord]]]  # tasks with the records that are scored
TASKS: dict[str, TaskSpec] = {}


def add_task(spec: TaskSpec) -> TaskSpec:
    """Register a task under its name. Raises ValueError if another one has it."""
    if spec.name in TASKS:
        raise ValueError(f"task {spec.name!r} is registered already; choose another name")
    TASKS[spec.name] = spec
    return spec
