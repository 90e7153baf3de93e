"""What needles are hidden in: repeated noise, or prose."""

import hashlib
import re
from functools import lru_cache
from random import Random

from ffbench.data.embedded_text import documents

NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
PROSE_PART = "task_test"  # of the embedded text: plans are never fitted on it
DEPTHS = tuple(round(100 * step / 39) for step in range(40))  # per cent of the sentences


@lru_cache(maxsize=1)
def prose() -> tuple[str, ...]:
    """The words of the embedded prose."""
    return tuple(" ".join(documents("prose", PROSE_PART).values()).split())


@lru_cache(maxsize=1)
def prose_hash() -> str:
    """First 16 hex digits of the SHA-256 of the prose."""
    return hashlib.sha256(" ".join(prose()).encode()).hexdigest()[:16]


def prose_with(needles: list[str], words: int, start: float, depths: list[int]) -> str:
    """`words` words of prose from the share `start` of it on, repeated if there are fewer, with a
    needle at each depth (per cent of the sentences).
    """
    source = prose()
    first = int(start * len(source))
    text = " ".join(source[(first + place) % len(source)] for place in range(words))
    sentences = re.split(r"(?<=[.!?]) ", text)
    places = [int(len(sentences) * depth / 100) for depth in sorted(depths)]
    for place, needle in sorted(zip(places, needles, strict=True), reverse=True):
        sentences.insert(place, needle)
    return " ".join(sentences)


def lines_with(needles: list[str], lines: list[str], generator: Random) -> str:
    """The lines with the needles, in their order, at random places."""
    places = sorted(generator.sample(range(len(lines)), len(needles)))
    mixed = list(lines)
    for place, needle in reversed(list(zip(places, needles, strict=True))):
        mixed.insert(place, needle)
    return "\n".join(mixed)
