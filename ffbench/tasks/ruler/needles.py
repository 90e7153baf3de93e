"""RULER's needles in a haystack: keys with values, hidden in text, of which some are asked."""

from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any
from uuid import UUID

from ffbench.tasks.base import TaskRecord
from ffbench.tasks.ruler import haystacks
from ffbench.tasks.ruler.filling import Draw, drawn, recipe
from ffbench.tasks.ruler.words import PAIRS

NEEDLE = "One of the special magic {kind} for {key} is: {value}."
# RULER's sentences for several values, and for one.
INTRODUCTIONS = (
    "Some special magic {kind} are hidden within the following text. Make sure to memorize it. "
    "I will quiz you about the {kind} afterwards.\n",
    "A special magic {kind} is hidden within the following text. Make sure to memorize it. "
    "I will quiz you about the {kind} afterwards.\n",
)
QUESTIONS = (
    "\nWhat are all the special magic {kind} for {keys} mentioned in the provided text?",
    "\nWhat is the special magic {kind} for {keys} mentioned in the provided text?",
)
PREFIXES = (
    "The special magic {kind} for {keys} mentioned in the provided text are",
    "The special magic {kind} for {keys} mentioned in the provided text is",
)


def new_value(kind: str, generator: Random) -> str:
    """A random value: a number of seven digits, or a UUID."""
    if kind == "uuids":
        return str(UUID(int=generator.getrandbits(128), version=4))
    return str(generator.randint(10**6, 10**7 - 1))


def new_keys(kind: str, count: int, generator: Random) -> list[str]:
    """`count` different keys: pairs of words (`drawn`), or UUIDs."""
    if kind == "uuids":
        return [new_value(kind, generator) for _ in range(count)]
    return drawn(PAIRS, count, generator)


def listed(names: list[str]) -> str:
    """Names as RULER lists them: "a, b, and c"."""
    return f"{', '.join(names[:-1])}, and {names[-1]}" if len(names) > 1 else names[0]


@dataclass(frozen=True)
class Sample:
    """One record's needles in the order in which they are hidden, the keys that are asked, and
    their values.
    """

    needles: tuple[str, ...]
    asked: tuple[str, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Needles:
    """One of RULER's needle tasks.

    haystack: `noise`, `prose`, or `needles` (other needles). key: `words` or `uuids`. value:
    `numbers` or `uuids`. keys, values, queries: how many keys are hidden, how many values each one
    has, and how many keys are asked.
    """

    haystack: str
    key: str = "words"
    value: str = "numbers"
    keys: int = 1
    values: int = 1
    queries: int = 1

    @property
    def least(self) -> int:
        """A needle goes before a line, so that there are as many lines as needles."""
        return self.keys * self.values

    @property
    def single(self) -> bool:
        """Whether one value is asked."""
        return self.values * self.queries == 1

    def ingredients(self) -> dict[str, Any]:
        """The haystack, prose by its hash."""
        return vars(self) | ({"prose": haystacks.prose_hash()} if self.haystack == "prose" else {})

    @lru_cache(maxsize=64)  # noqa: B019 - a few frozen instances that live as long as the process
    def sample(self, draw: Draw) -> Sample:
        """The needles and the answers of a record."""
        generator = draw.generator("needles")
        keys = new_keys(self.key, self.keys, draw.generator("keys"))
        values = {
            key: [new_value(self.value, generator) for _ in range(self.values)] for key in keys
        }
        needles = [self.needle(key, value) for key in keys for value in values[key]]
        generator.shuffle(needles)
        asked = generator.sample(keys, self.queries)
        answers = [value for key in asked for value in values[key]]
        return Sample(tuple(needles), tuple(asked), tuple(answers))

    def needle(self, key: str, value: str) -> str:
        """One needle."""
        return NEEDLE.format(kind=self.value, key=key, value=value)

    def filled_in(self, sentences: tuple[str, str], sample: Sample) -> str:
        """One of RULER's sentences for this task."""
        kind = self.value.removesuffix("s") if self.single else self.value
        return sentences[self.single].format(kind=kind, keys=listed(list(sample.asked)))

    def record(self, draw: Draw) -> TaskRecord:
        """A record without its context."""
        sample = self.sample(draw)
        return TaskRecord(
            draw.record_id,
            draw.task,
            "",
            self.filled_in(QUESTIONS, sample),
            sample.answers,
            answer_prefix=self.filled_in(PREFIXES, sample),
            gold=listed(list(sample.answers)),
            recipe=recipe(self, draw),
        )

    def context(self, draw: Draw, units: int, length: int) -> str:
        """The introduction and a haystack of `units` words of prose, or lines."""
        sample = self.sample(draw)
        return self.filled_in(INTRODUCTIONS, sample) + self.hidden(sample, draw, units)

    def hidden(self, sample: Sample, draw: Draw, units: int) -> str:
        """The needles in their haystack."""
        needles, places = list(sample.needles), draw.generator("places")
        if self.haystack == "prose":
            start = places.random()
            depths = places.sample(haystacks.DEPTHS, len(needles))
            return haystacks.prose_with(needles, units, start, depths)
        lines = [haystacks.NOISE] * units if self.haystack == "noise" else self.others(draw, units)
        return haystacks.lines_with(needles, lines, places)

    def others(self, draw: Draw, count: int) -> list[str]:
        """Needles that nobody asks for; their keys are not among the hidden ones."""
        keys = new_keys(self.key, self.keys + count, draw.generator("keys"))[self.keys :]
        generator = draw.generator("others")
        return [self.needle(key, new_value(self.value, generator)) for key in keys]
