import os
import signal
import time

import pytest

from ffbench.cli.run import stoppable


@pytest.fixture
def interrupt_handler():
    """Put back the handler of Ctrl-C afterwards."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def own(number, frame):
    raise LookupError


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (signal.default_int_handler, KeyboardInterrupt),
        (signal.SIG_IGN, KeyboardInterrupt),  # a script's background jobs ignore Ctrl-C
        (own, LookupError),
    ],
)
def test_sigterm_stops_as_ctrl_c_does(interrupt_handler, handler, error):
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGINT, handler)
    with pytest.raises(error), stoppable():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert signal.getsignal(signal.SIGTERM) is before
