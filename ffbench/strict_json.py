"""JSON whose every fault is a ValueError, for files that others may have made or damaged."""

import json
from typing import Any


def parse(data: str | bytes) -> Any:
    """The value of JSON text. Raises ValueError, also for nesting that Python cannot follow."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a JSON text. Raises ValueError for a name that occurs twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} occurs twice in one object")
    return found


def parse_record(line: str) -> Any:
    """`parse` of a record, of which no value may be lost: a name that occurs twice is refused."""
    try:
        return json.loads(line, object_pairs_hook=without_repeats)
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None
