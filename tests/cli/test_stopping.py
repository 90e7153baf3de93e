"""A termination stops a command as Ctrl-C does."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ffbench.cli.run import stoppable


@pytest.fixture
def interrupt_handler() -> Iterator[None]:
    """Put back the handler of Ctrl-C afterwards."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def own(number: int, frame: object) -> None:
    raise LookupError


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (signal.default_int_handler, KeyboardInterrupt),
        (signal.SIG_IGN, KeyboardInterrupt),  # a script's background jobs ignore Ctrl-C
        (own, LookupError),
    ],
)
def test_sigterm_stops_as_ctrl_c_does(
    interrupt_handler: None, handler: Any, error: type[BaseException]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGINT, handler)
    with pytest.raises(error), stoppable():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)  # the signal ends it
    assert signal.getsignal(signal.SIGTERM) is before
