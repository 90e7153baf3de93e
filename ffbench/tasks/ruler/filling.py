"""Records of generated tasks: their recipes, and contexts as long as the prompt may be."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Protocol

from ffbench.data.embedded_text import hashed
from ffbench.tasks.base import TaskError, TaskRecord


@dataclass(frozen=True)
class Draw:
    """What makes one record: its task, the seed, and its number among the records."""

    task: str
    seed: int
    number: int

    def generator(self, purpose: str) -> Random:
        """Random numbers for one purpose: another purpose never changes them."""
        return Random(hashed("ruler", self.task, str(self.seed), str(self.number), purpose))

    @property
    def record_id(self) -> str:
        """The record's name."""
        return f"{self.task}-{self.seed}-{self.number}"


class Generator(Protocol):
    """A generated task. A haystack has units: words, or lines."""

    @property
    def least(self) -> int:
        """Units of the shortest haystack."""

    def ingredients(self) -> dict[str, Any]:
        """What the texts are made from."""

    def record(self, draw: Draw) -> TaskRecord:
        """A record without its context."""

    def context(self, draw: Draw, units: int, length: int) -> str:
        """The text up to the question, with a haystack of `units` units; `length`: the tokens that
        prompt and answer may have together.
        """


def drawn(pool: Sequence[str], count: int, generator: Random) -> list[str]:
    """`count` different words of a pool in random order, numbered once the pool is used up; fewer
    of them are the first of more.
    """
    words = generator.sample(pool, len(pool))
    rounds = range(-(-count // len(words)))
    return [word + (f"-{turn}" if turn else "") for turn in rounds for word in words][:count]


def recipe(generator: Generator, draw: Draw) -> str:
    """The recipe of a record: everything that its context depends on, but for its length."""
    return json.dumps({"draw": vars(draw)} | generator.ingredients(), sort_keys=True)


def most_units(size: Callable[[int], int], least: int, room: int) -> int | None:
    """The most units of which `size` is at most `room`, None if `least` is too many already.

    `size` must grow with its argument. Guesses are by proportion, every third one by halving.
    """
    low, low_size = least, size(least)
    if low_size > room:
        return None
    high, high_size = least + 64, size(least + 64)
    while high_size <= room:
        per_unit = max((high_size - low_size) / (high - low), 1e-3)
        low, low_size = high, high_size
        high += int((room - low_size) / per_unit) + 1
        high_size = size(high)
    turn = 0
    while high - low > 1:
        turn += 1
        share = 0.5 if turn % 3 == 0 else (room - low_size) / (high_size - low_size)
        middle = min(max(low + int(share * (high - low)), low + 1), high - 1)
        middle_size = size(middle)
        if middle_size <= room:
            low, low_size = middle, middle_size
        else:
            high, high_size = middle, middle_size
    return low


def fill(
    generator: Generator,
    max_new_tokens: int,
    record: TaskRecord,
    size: Callable[[TaskRecord], int],
    room: int,
) -> TaskRecord:
    """The record with the longest context of which the prompt has at most `room` tokens.

    Raises TaskError if the shortest one has more.
    """
    draw = Draw(**json.loads(record.recipe)["draw"])

    length = room + max_new_tokens

    def grown(units: int) -> TaskRecord:
        return replace(record, context=generator.context(draw, units, length))

    units = most_units(lambda count: size(grown(count)), generator.least, room)
    if units is None:
        least = size(grown(generator.least)) + max_new_tokens
        raise TaskError(
            f"task.max_length={length}: too short for {record.task}, whose shortest "
            f"prompt and answer take {least} tokens; set task.max_length to {least} or more"
        )
    return grown(units)
