"""Windows of token ids (lists, no torch) cut from documents."""

from collections.abc import Iterable, Iterator
from typing import Any

from ffbench.data.embedded_text import documents, hashed
from ffbench.data.encoding import encode, special_head

JOINT = "\n\n"  # between documents that share a window

Window = tuple[str, list[int]]


def joined_windows(
    tokenizer: Any, texts: Iterable[str], tokens: int, length: int
) -> list[list[int]]:
    """Windows of `length` ids from texts joined in their order, at most `tokens` ids in all.

    Raises ValueError if the texts do not fill one window.
    """
    ids: list[int] = []
    for text in texts:
        ids.extend(encode(tokenizer, text))
        if len(ids) >= tokens:
            break
    count = min(len(ids), tokens) // length
    if count == 0:
        raise ValueError(
            f"the text has {len(ids)} tokens, too few for one window of {length}; give more text "
            "or choose a shorter window"
        )
    return [ids[i * length : (i + 1) * length] for i in range(count)]


def inside(name: str, ids: list[int], length: int) -> list[int]:
    """`length` ids of a document from a start that its name gives: most files begin with imports
    or a licence, which are not typical of them.
    """
    start = hashed("window", name) % (len(ids) - length + 1)
    return ids[start : start + length]


def window_units(tokenizer: Any, texts: dict[str, str], length: int) -> Iterator[Window]:
    """Name and ids [length] of every unit that the documents fill: first those that are long
    enough by themselves, then short ones joined in their order, named by the first of them.

    Each document is in one unit at most.
    """
    short: dict[str, str] = {}
    for name, text in texts.items():
        # A token has at least one character, so a text of fewer characters is too short.
        ids = encode(tokenizer, text) if len(text) >= length else []
        if len(ids) >= length:
            yield name, inside(name, ids, length)
        else:
            short[name] = text
    first, joined = "", ""
    for name, text in short.items():
        first, joined = (first, joined + JOINT + text) if joined else (name, text)
        ids = encode(tokenizer, joined) if len(joined) >= length else []
        if len(ids) >= length:
            yield first, ids[:length]
            first, joined = "", ""


def document_windows(
    tokenizer: Any, kind: str, part: str, *, length: int, count: int
) -> list[Window]:
    """At most `count` windows of an embedded text: (document name, ids [length]).

    One window per document, so that windows are independent draws. Each begins with the token that
    the tokenizer puts before a text by itself (if any), which counts towards `length`. Fewer than
    `count` come back if the part holds no more text. With SmolLM2's tokenizer on Python 3.11 there
    are (single documents and joined ones together):

        length                  512   1,024   1,791   3,839
        prose, heldout / test   50/42 39/34   28/24   15/14
        code, heldout / test    43/43 39/37   35/30   24/21

    Raises ValueError for an unknown kind or part, a length that leaves no room after the begin
    token, or a length that nothing fills.
    """
    head = special_head(tokenizer)
    if length <= len(head):
        raise ValueError(f"length: {length} is too small for a window; choose {len(head) + 1}")
    found: list[Window] = []
    for name, ids in window_units(tokenizer, documents(kind, part), length - len(head)):
        if len(found) == count:
            break
        found.append((name, head + ids))
    if not found:
        raise ValueError(
            f"the {kind} of part {part!r} fills no window of {length} tokens; choose a shorter one"
        )
    return found
