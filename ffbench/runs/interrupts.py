"""Ctrl-C that is not lost: libraries turn some interrupts into errors, or swallow them."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REPEAT_SECONDS = 0.05  # the destructor has ended by then

_noted: list[int] = []  # signals inside `interrupts_noted`; empty outside


def interrupted() -> bool:
    """Whether a Ctrl-C came inside `interrupts_noted`, whatever a library made of it."""
    return bool(_noted)


def imports_torch(frame: FrameType | None) -> bool:
    """Whether a module of torch is being imported: its C++ code aborts the process if Python raises
    an exception there.
    """
    while frame is not None:
        code = frame.f_code
        if code.co_name == "<module>" and f"{os.sep}torch{os.sep}" in code.co_filename:
            return True
        frame = frame.f_back
    return False


@contextmanager
def interrupts_noted() -> Iterator[list[int]]:
    """Note every Ctrl-C inside, since libraries turn some of them into errors of their own."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield []
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        _noted.append(number)
        if imports_torch(frame):
            threading.Timer(REPEAT_SECONDS, os.kill, (os.getpid(), signal.SIGINT)).start()
            return
        raise KeyboardInterrupt

    hook = sys.unraisablehook

    def repeat(unraisable: "sys.UnraisableHookArgs") -> None:
        """An interrupt inside a destructor is lost there: send it again a moment later."""
        if unraisable.exc_type is KeyboardInterrupt:
            threading.Timer(REPEAT_SECONDS, os.kill, (os.getpid(), signal.SIGINT)).start()
        else:
            hook(unraisable)

    signal.signal(signal.SIGINT, interrupt)
    sys.unraisablehook = repeat
    try:
        yield _noted
    finally:
        _noted.clear()
        sys.unraisablehook = hook
        signal.signal(signal.SIGINT, signal.default_int_handler)
