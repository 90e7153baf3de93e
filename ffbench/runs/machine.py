"""Jobs of an output folder on one machine: they work side by side, and a measurement has it to
itself.
"""

import fcntl
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from ffbench.runs.files import disk_errors, make_folder

logger = logging.getLogger(__name__)


class Machine:
    """A job's place on its machine among the jobs of its output folder; it ends with its process.

    A working job holds the lock `work` together with the others. A measurement holds it alone: it
    closes the lock `gate`, at which the others halt between two stages (`halt`), and waits until
    each has let go. Other programs, and jobs of other output folders, are not held off.
    """

    def __init__(self, output_dir: str | Path) -> None:
        folder = make_folder(Path(output_dir) / ".machines")
        with disk_errors("lock", folder):
            self._work, self._gate = (
                os.open(
                    folder / f"{platform.node()}.{name}",
                    os.O_RDWR | os.O_CREAT | os.O_CLOEXEC,
                    0o666,
                )
                for name in ("work", "gate")
            )

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._work)
        os.close(self._gate)

    def halt(self) -> None:
        """Let a measurement that waits go first."""
        if not taken(self._gate, fcntl.LOCK_SH):
            fcntl.flock(self._work, fcntl.LOCK_UN)
            self._enter()
        else:
            fcntl.flock(self._gate, fcntl.LOCK_UN)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have the machine alone inside; measurements take turns."""
        fcntl.flock(self._work, fcntl.LOCK_UN)
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        try:
            if not taken(self._work, fcntl.LOCK_EX):
                logger.warning(
                    "the measurement waits until the other jobs here are between two stages"
                )
                fcntl.flock(self._work, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(self._work, fcntl.LOCK_UN)
            fcntl.flock(self._gate, fcntl.LOCK_UN)
            self._enter()

    def _enter(self) -> None:
        fcntl.flock(self._gate, fcntl.LOCK_SH)
        fcntl.flock(self._work, fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)


def taken(descriptor: int, kind: int) -> bool:
    """Take a lock if it is free; False if it is not."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
