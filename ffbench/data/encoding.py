"""Text to token ids as a whole, and where in the ids a character of the text is."""

from collections.abc import Sequence
from typing import Any


def encode(tokenizer: Any, text: str) -> list[int]:
    """Ids of a text without the special tokens that the tokenizer adds by itself."""
    return list(tokenizer.encode(text, add_special_tokens=False))


def special_head(tokenizer: Any) -> list[int]:
    """Ids that the tokenizer puts before a text by itself: its begin token, or nothing."""
    plain = encode(tokenizer, "x")
    whole = list(tokenizer.encode("x", add_special_tokens=True))
    at = next(i for i in range(len(whole)) if whole[i : i + len(plain)] == plain)
    return whole[:at]


def shared_start(first: Sequence[int], second: Sequence[int]) -> int:
    """Number of ids that both begin with."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))


def encode_with_boundaries(
    tokenizer: Any, text: str, characters: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Ids of the whole text, and for each character position how many ids end at or before it.

    An id that crosses a position counts as after it. Tokenizers without character offsets (slow
    ones) encode the text up to each position too; the ids that both encodings begin with are the
    ones before it.
    """
    if getattr(tokenizer, "is_fast", False):
        found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ends = [end for _, end in found["offset_mapping"]]
        return list(found["input_ids"]), [
            next((i for i, end in enumerate(ends) if end > character), len(ends))
            for character in characters
        ]
    ids = encode(tokenizer, text)
    return ids, [shared_start(ids, encode(tokenizer, text[:character])) for character in characters]
