"""RULER's frequent words (fwe): coded text by Zipf's law; which three words occur most often?"""

from dataclasses import dataclass
from math import pi
from typing import Any

from ffbench.tasks.base import TaskRecord
from ffbench.tasks.ruler.filling import Draw, recipe
from ffbench.tasks.ruler.variables import new_names

INTRODUCTION = (
    "The text below is in code. Keep track of how often each coded word occurs, and find the three "
    "words that occur most often. "
)
QUESTION = (
    "\nQuestion: Which three words occur most often in the coded text above? The dots '...' are "
    "not a word. Give no explanation."
)
PREFIX = "Answer: The three words that occur most often in the coded text are:"
DOTS = "..."  # in place of the most frequent word
ASKED = 3
TOKENS_PER_NAME = 50  # of the prompt: a longer one has more different words
ZETA = pi**2 / 6  # of the exponent 2


def counts(words: int, ranks: int) -> list[int]:
    """How often the word of each rank k occurs in a text of `words` words: words / (k^2 zeta(2)),
    rounded down.
    """
    return [int(words / (rank**2 * ZETA)) for rank in range(1, ranks + 1)]


@dataclass(frozen=True)
class FrequentWords:
    """Words of `letters` random letters, the more often the lower their rank."""

    letters: int = 6
    answer_tokens: int = 50

    @property
    def least(self) -> int:
        """The third of the asked words occurs more often than the next one from here on."""
        return 53

    def ingredients(self) -> dict[str, Any]:
        """What the texts depend on."""
        return vars(self)

    def words(self, draw: Draw, count: int) -> list[str]:
        """`count` different words by rank after the dots."""
        names = new_names(count, self.letters, draw.generator("words"))
        return [name.lower() for name in names]

    def record(self, draw: Draw) -> TaskRecord:
        """A record without its context."""
        answers = self.words(draw, ASKED)
        return TaskRecord(
            draw.record_id,
            draw.task,
            "",
            QUESTION,
            tuple(answers),
            answer_prefix=PREFIX,
            gold=" ".join(answers),
            recipe=recipe(self, draw),
        )

    def context(self, draw: Draw, units: int, length: int) -> str:
        """The introduction and a text of `units` words, less what rounding leaves out."""
        names = max((length - self.answer_tokens) // TOKENS_PER_NAME - 1, ASKED + 1)
        ranked = [DOTS, *self.words(draw, names)]
        often = counts(units, len(ranked))
        text = [word for word, count in zip(ranked, often, strict=True) for _ in range(count)]
        draw.generator("order").shuffle(text)
        return INTRODUCTION + " ".join(text)
