"""Progress of long work on stderr: a bar on a terminal, elsewhere one line per minute."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Self

from tqdm import tqdm

EVERY_SECONDS = 60.0
PLAIN = "FFBENCH_PLAIN_PROGRESS"


def on_terminal() -> bool:
    """Whether bars can be drawn: stderr is a terminal, and no other process draws on it (variable
    PLAIN).
    """
    return sys.stderr is not None and sys.stderr.isatty() and not os.environ.get(PLAIN)


def log_line(text: str) -> None:
    """Print one line to stderr at once, above any bar."""
    tqdm.write(text, file=sys.stderr)
    sys.stderr.flush()


def duration(seconds: float) -> str:
    """Seconds in words: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class LineBar:
    """What tqdm's bar does, as one line per minute; the first after a minute, so that short work
    logs nothing. Its time left is that of its own stage.
    """

    def __init__(
        self, items: Iterable[Any] | None, total: int | None, initial: int, what: str
    ) -> None:
        self._items, self._total, self._what = items, total, what
        self._count = self._first = initial
        self._start = self._last = time.monotonic()
        self._note = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def __iter__(self) -> Iterator[Any]:
        for item in () if self._items is None else self._items:
            yield item
            self.update()

    def update(self, count: int = 1) -> None:
        """Count work that is done."""
        self._count += count
        now = time.monotonic()
        if now - self._last >= EVERY_SECONDS:
            self._last = now
            log_line(self.line(now - self._start))

    def set_postfix(self, **notes: object) -> None:
        """Values shown at the end of the line."""
        self._note = "".join(f", {name} {value}" for name, value in notes.items())

    def line(self, elapsed: float) -> str:
        """How far the work is after `elapsed` seconds."""
        done = self._count - self._first
        left = ""
        if self._total is not None and done > 0:
            left = f", about {duration(elapsed / done * (self._total - self._count))} left"
        return (
            f"{self._what}: {self._count} of "
            f"{'?' if self._total is None else self._total}{left}{self._note}"
        )


def progress_bar(
    items: Iterable[Any] | None = None,
    *,
    total: int | None = None,
    initial: int = 0,
    desc: str = "",
) -> Any:
    """A bar over `items`, or over `total` steps that `update()` counts; tqdm's on a terminal, lines
    elsewhere.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    if on_terminal():
        return tqdm(
            items,
            total=total,
            initial=initial,
            desc=desc,
            leave=False,
            dynamic_ncols=True,
            mininterval=0.5,
        )
    return LineBar(items, total, initial, desc)
