"""RULER's variable tracking: a chain of assignments hidden in noise; which variables have the
value?
"""

from dataclasses import dataclass
from random import Random
from string import ascii_uppercase
from typing import Any

from ffbench.tasks.base import TaskRecord
from ffbench.tasks.ruler import haystacks
from ffbench.tasks.ruler.filling import Draw, recipe

INTRODUCTION = (
    "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n"
)
QUESTION = "\nQuestion: Find all variables that are assigned the value {value} in the text above."
PREFIX = (
    "Answer: According to the chain(s) of variable assignment in the text above, {count} variables "
    "are assigned the value {value}, they are:"
)
EXAMPLE_LINES = 12  # noise of the worked example: with its chain about 500 tokens


def new_names(count: int, letters: int, generator: Random) -> list[str]:
    """`count` different names of so many capital letters."""
    names: dict[str, None] = {}
    while len(names) < count:
        names["".join(generator.choices(ascii_uppercase, k=letters))] = None
    return list(names)


def new_chain(names: list[str], value: str) -> list[str]:
    """The first variable gets the value, each other one the variable before it."""
    pairs = zip(names[1:], names, strict=False)
    return [f"VAR {names[0]} = {value}", *(f"VAR {name} = VAR {before} " for name, before in pairs)]


@dataclass(frozen=True)
class Variables:
    """One chain of `hops` assignments after the first, and a worked example before the task."""

    hops: int = 4

    @property
    def least(self) -> int:
        """An assignment goes before a line, so that there are as many lines as assignments."""
        return self.hops + 1

    def ingredients(self) -> dict[str, Any]:
        """What the texts depend on."""
        return vars(self) | {"example_lines": EXAMPLE_LINES}

    def names_and_value(self, generator: Random, letters: int) -> tuple[list[str], str]:
        """The variables of a chain and its value."""
        return new_names(self.hops + 1, letters, generator), str(generator.randint(10000, 99999))

    def record(self, draw: Draw) -> TaskRecord:
        """A record without its context."""
        names, value = self.names_and_value(draw.generator("chain"), 5)
        return TaskRecord(
            draw.record_id,
            draw.task,
            "",
            QUESTION.format(value=value),
            tuple(names),
            answer_prefix=PREFIX.format(count=len(names), value=value),
            gold=" ".join(names),
            recipe=recipe(self, draw),
        )

    def hidden(self, names: list[str], value: str, lines: int, generator: Random) -> str:
        """The introduction and the chain in its noise."""
        noise = [haystacks.NOISE] * lines
        return INTRODUCTION + haystacks.lines_with(new_chain(names, value), noise, generator)

    def example(self, generator: Random) -> str:
        """A worked example with names of three letters, its answer included."""
        names, value = self.names_and_value(generator, 3)
        text = self.hidden(names, value, EXAMPLE_LINES, generator) + QUESTION.format(value=value)
        return f"{text} {PREFIX.format(count=len(names), value=value)} {' '.join(names)}\n\n"

    def context(self, draw: Draw, units: int, length: int) -> str:
        """The worked example, the introduction, and `units` lines of noise with the chain."""
        names, value = self.names_and_value(draw.generator("chain"), 5)
        text = self.hidden(names, value, units, draw.generator("places"))
        return self.example(draw.generator("example")) + text
