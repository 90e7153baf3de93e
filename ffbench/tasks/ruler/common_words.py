"""RULER's common words (cwe): a numbered list of words; which ten occur most often?"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from ffbench.data.embedded_text import PARTS, documents
from ffbench.tasks.base import TaskRecord
from ffbench.tasks.ruler.filling import Draw, drawn, recipe
from ffbench.tasks.ruler.words import ADJECTIVES, NOUNS

INTRODUCTION = (
    "Here is a numbered list of words. Some words occur in it far more often than the others. "
    "Remember which ones do.\n"
)
QUESTION = "\nQuestion: Which {count} words occur most often in this list?"
PREFIX = "Answer: The {count} words that occur most often in the list are:"
SHORT = 4096  # tokens; shorter prompts repeat words less
SINGLE_WORD = re.compile("[a-z]{4,}")


@lru_cache(maxsize=1)
def single_words() -> tuple[str, ...]:
    """Our own words and those of the embedded prose: four or more small letters."""
    texts = [text for part in PARTS for text in documents("prose", part).values()]
    found = {word for text in [ADJECTIVES, NOUNS, *texts] for word in text.split()}
    return tuple(sorted(word for word in found if SINGLE_WORD.fullmatch(word)))


@lru_cache(maxsize=1)
def words_hash() -> str:
    """First 16 hex digits of the SHA-256 of the words."""
    return hashlib.sha256(" ".join(single_words()).encode()).hexdigest()[:16]


def numbered(words: list[str]) -> str:
    """Words as "1. one 2. another"."""
    return " ".join(f"{number}. {word}" for number, word in enumerate(words, 1))


@dataclass(frozen=True)
class Repeats:
    """How often each common word and each other word occurs."""

    common: int
    other: int


@dataclass(frozen=True)
class CommonWords:
    """`common` words that occur often among others that occur seldom, after a worked example."""

    common: int = 10

    @property
    def least(self) -> int:
        """There is one other word."""
        return 1

    def ingredients(self) -> dict[str, Any]:
        """What the texts depend on."""
        return vars(self) | {"words": words_hash()}

    def answers(self, draw: Draw) -> list[str]:
        """The common words."""
        return drawn(single_words(), self.common, draw.generator("words"))

    def record(self, draw: Draw) -> TaskRecord:
        """A record without its context."""
        answers = self.answers(draw)
        return TaskRecord(
            draw.record_id,
            draw.task,
            "",
            QUESTION.format(count=self.common),
            tuple(answers),
            answer_prefix=PREFIX.format(count=self.common),
            gold=numbered(answers),
            recipe=recipe(self, draw),
        )

    def listed(self, words: list[str], repeats: Repeats, generator: Random) -> str:
        """The introduction and the list in random order; the first of `words` are common."""
        rows = words[: self.common] * repeats.common + words[self.common :] * repeats.other
        generator.shuffle(rows)
        return INTRODUCTION + numbered(rows)

    def example(self, others: int, repeats: Repeats, draw: Draw) -> str:
        """A worked example with `others` other words, its answer included."""
        generator = draw.generator("example")
        words = drawn(single_words(), self.common + others, generator)
        texts = (QUESTION.format(count=self.common), PREFIX.format(count=self.common))
        answer = numbered(words[: self.common])
        return f"{self.listed(words, repeats, generator)}{texts[0]} {texts[1]} {answer}\n"

    def context(self, draw: Draw, units: int, length: int) -> str:
        """The worked example and a list with `units` other words."""
        if length < SHORT:
            example, repeats = self.example(10, Repeats(3, 1), draw), Repeats(6, 1)
        else:
            example, repeats = self.example(30, Repeats(10, 3), draw), Repeats(30, 3)
        words = drawn(single_words(), self.common + units, draw.generator("words"))
        return example + self.listed(words, repeats, draw.generator("order"))
