"""Wait for what another process or thread does. The limits end tests that hang; no result depends
on them."""

import time
from collections.abc import Callable
from pathlib import Path


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Poll `condition` (AssertionError after `seconds`)."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition never came true"
        time.sleep(0.02)


def has_ended(process: int) -> bool:
    """Whether a process is gone, or is a zombie that its parent has not asked about."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return text.rpartition(")")[2].split()[0] == "Z"
