"""Tasks from text that every Python carries: code completion and passage retrieval (our design,
LongBench's formats).
"""

import ast
import re
from difflib import SequenceMatcher
from functools import lru_cache, partial
from random import Random

from ffbench.data.embedded_text import documents, hashed
from ffbench.tasks.base import (
    RecordChoice,
    TaskError,
    TaskRecord,
    TaskSpec,
    add_task,
    first_code_line,
)
from ffbench.tasks.metrics import other_answer_chance

CODE_CHARACTERS = 2200  # about 700 tokens of context, several blocks of 128
PASSAGES = 6
PASSAGE_CHARACTERS = 340  # six of them fill several blocks too
PASSAGE_START = 60  # characters by which two passages differ
PART = "task_test"  # of the embedded text
# Common words, so that most tokenizers need one token for each.
LABEL_WORDS = """
apple river stone tiger cloud music paper garden window silver bridge candle forest kitchen
ladder mirror anchor basket button camera carpet castle cherry circle cotton desert dinner
doctor dragon engine falcon farmer feather finger flower guitar hammer harbor helmet island
jacket jungle lemon lion marble market meadow metal minute monkey mountain needle ocean onion
orange palace parrot pencil pepper piano pillow planet pocket potato rabbit ribbon rocket saddle
salmon school shadow spider summer sunset table temple ticket tomato tunnel turtle valley velvet
violin wagon wallet whale winter yellow
"""
LABELS = tuple(LABEL_WORDS.split())
# The embedded task draws from the first LABELS only: its answers stay as they were.
TASK_LABELS = LABELS[:16]


def edit_similarity(prediction: str, record: TaskRecord) -> float:
    """Best similarity in points between the prediction's first line of code and an answer, as in
    LongBench's lcc.
    """
    first = first_code_line(prediction)
    return max(
        100 * SequenceMatcher(None, first, answer.lstrip("\n"), autojunk=False).ratio()
        for answer in record.answers
    )


def retrieval_score(prediction: str, record: TaskRecord) -> float:
    """Share in points of the labels in the prediction's first line that are the right passage's.

    LongBench's rule for passage_retrieval_en with words in place of numbers: small models continue
    the count of numbered paragraphs, which would measure no retrieval.
    """
    words = re.findall(r"\w+", prediction.split("\n")[0])
    named = [word for word in words if word in record.all_classes]
    right = sum(word == record.answers[0].strip() for word in named)
    return 100 * right / len(named) if named else 0.0


def seeded(*words: str) -> Random:
    """A generator seeded with the hash of some words."""
    return Random(hashed(*words))


def names_in(text: str) -> set[str]:
    """Names of at least two letters in a piece of code."""
    return set(re.findall(r"[A-Za-z_]\w+", text))


def context_before(lines: list[str], at: int) -> str:
    """The last CODE_CHARACTERS before line `at`, or all if there are fewer, beginning at a line."""
    text = "\n".join(lines[max(0, at - 200) : at])[-CODE_CHARACTERS:]
    return text[text.index("\n") + 1 :] if "\n" in text else text


def statements(text: str) -> list[int]:
    """Indices of the lines on which a statement begins, docstrings left out."""
    nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt))
    return sorted(
        {
            node.lineno - 1
            for node in nodes
            if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        }
    )


def completable(lines: list[str], at: int) -> bool:
    """Whether the statement at line `at` has enough text before it that holds all of its names (at
    least two).
    """
    line = lines[at]
    if (
        len(line.strip()) < 12
        or "#" in line
        or len(names_in(line)) < 2
        or not lines[at - 1].strip()
    ):
        return False
    if sum(len(earlier) + 1 for earlier in lines[max(0, at - 200) : at]) < CODE_CHARACTERS:
        return False
    return names_in(line) <= names_in(context_before(lines, at))


@lru_cache(maxsize=256)
def fitting_lines(text: str) -> list[int]:
    """Every completable line of a file."""
    lines = text.split("\n")
    return [at for at in statements(text) if completable(lines, at)]


def code_record(name: str, text: str, turn: int) -> TaskRecord | None:
    """A completion record at a random completable line of a file; None if there is none."""
    lines, fits = text.split("\n"), fitting_lines(text)
    if not fits:
        return None
    at = seeded("code", name, str(turn)).choice(fits)
    context = "Please complete the code given below.\n" + context_before(lines, at)
    return TaskRecord(f"{name}:{at + 1}", "embedded_code", context, "", ("\n" + lines[at],))


@lru_cache
def load_code(choice: RecordChoice) -> list[TaskRecord]:
    """Completion records from the standard library's source; one per file and turn."""
    limit = choice.limit
    wanted = limit or 120
    records: list[TaskRecord] = []
    texts = documents("code", PART)
    for turn in range(20):
        for name, text in texts.items():
            record = code_record(name, text, turn)
            if record is not None and record.record_id not in {r.record_id for r in records}:
                records.append(record)
            if len(records) == wanted:
                return records
    return enough(records, limit, "embedded_code")


@lru_cache
def passages(part: str) -> tuple[str, ...]:
    """Passages of about PASSAGE_CHARACTERS, whole sentences without the last full stop, from the
    prose of an embedded part. No two begin alike.

    Without the full stop, the text before a label differs from passage to passage.
    """
    by_start: dict[str, str] = {}
    for text in documents("prose", part).values():
        plain = re.sub(r"\s+", " ", text)
        sentences = [s for s in re.split(r"(?<=[.:]) ", plain) if 40 <= len(s) <= 220]
        passage = ""
        for sentence in sentences:
            passage = f"{passage} {sentence}".strip()
            if len(passage) >= PASSAGE_CHARACTERS:
                by_start.setdefault(passage[:PASSAGE_START], passage.rstrip(".:"))
                passage = ""
    return tuple(by_start.values())


def labelled(texts: list[str], labels: list[str]) -> str:
    """Passages followed by their labels, as one text."""
    return "\n\n".join(
        f"{text} [label: {label}]" for text, label in zip(texts, labels, strict=True)
    )


@lru_cache
def load_retrieval(choice: RecordChoice) -> list[TaskRecord]:
    """Each record has PASSAGES labelled passages, one of them again, and asks for its label."""
    limit = choice.limit
    pool = passages(PART)
    records: list[TaskRecord] = []
    for number in range(limit or 120):
        generator = seeded("retrieval", "test", str(number))
        chosen, labels = generator.sample(pool, PASSAGES), generator.sample(TASK_LABELS, PASSAGES)
        answer = generator.randrange(PASSAGES)
        records.append(
            TaskRecord(
                f"retrieval-{number}",
                "embedded_retrieval",
                labelled(chosen, labels),
                f"\n\n{chosen[answer]} [label:",
                (f" {labels[answer]}",),
                tuple(labels),
            )
        )
    return enough(records, limit, "embedded_retrieval")


def enough(records: list[TaskRecord], limit: int | None, task: str) -> list[TaskRecord]:
    """The records. Raises TaskError if there are fewer than were asked for."""
    if limit is not None and len(records) < limit:
        raise TaskError(f"task.limit: {task} has {len(records)} records, {limit} were asked for")
    return records


add_task(
    TaskSpec(
        name="embedded_code",
        category="code",
        metric="edit_similarity",
        max_new_tokens=24,
        load=load_code,
        score=edit_similarity,
        chance=partial(other_answer_chance, edit_similarity),
        stop="line",
    )
)
add_task(
    TaskSpec(
        name="embedded_retrieval",
        category="retrieval",
        metric="retrieval_score",
        max_new_tokens=3,
        load=load_retrieval,
        score=retrieval_score,
        chance=lambda records: 100 / PASSAGES,
        stop="line",
    )
)
