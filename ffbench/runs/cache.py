"""Stage cache: results that runs share are made once, also by processes that start at the same
moment.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ffbench.runs.files import (
    StoreError,
    disk_errors,
    full_disk_errors,
    make_folder,
    read_object,
    sync_folder,
    write_json,
)
from ffbench.runs.run_folder import now

WAIT_SECONDS = 6 * 3600.0
META = "meta.json"

logger = logging.getLogger(__name__)


class StageCache:
    """`stages/STAGE/KEY` folders of one output folder."""

    def __init__(self, output_dir: str | Path) -> None:
        self.root = Path(output_dir) / "stages"

    def path(self, stage: str, key: str) -> Path:
        """Where the folder of (stage, key) is, or would be."""
        for part in (stage, key):
            if not part or part.startswith(".") or "/" in part:
                raise ValueError(f"stage {stage!r}, key {key!r}: both must be plain names")
        return self.root / stage / key

    def has(self, stage: str, key: str) -> bool:
        """Whether the stage was made to its end."""
        return (self.path(stage, key) / META).exists()

    def get_or_make(
        self,
        stage: str,
        key: str,
        make: Callable[[Path], None],
        *,
        resumable: bool = False,
        timeout: float = WAIT_SECONDS,
    ) -> Path:
        """The finished folder of (stage, key); `make(folder)` fills it if it is not there yet.

        `make` gets a fresh empty folder that takes its final name only at the end, so a half-made
        stage is never seen. With `resumable` it gets the folder that a killed or failed attempt
        left, to resume in. One process makes a key at a time, the others wait; the lock ends with
        its process, however that ends.

        Raises:
            StoreError: the lock is still held after `timeout` seconds, or the disk refuses.
            Exception: whatever `make` raised; nothing is kept unless `resumable`.

        """
        final = self.path(stage, key)
        if self.has(stage, key):
            return final
        make_folder(final.parent)
        with self._locked(stage, key, timeout):
            if not self.has(stage, key):
                self._make(final, stage, key, make, resumable)
        return final

    def seconds(self, stage: str, key: str) -> float | None:
        """Seconds that making (stage, key) took, all attempts that ended together; None if it is
        not there.
        """
        meta = self.path(stage, key) / META
        return float(read_object(meta, seconds=(int, float))["seconds"]) if meta.exists() else None

    def _make(
        self, final: Path, stage: str, key: str, make: Callable[[Path], None], resumable: bool
    ) -> None:
        part = final.with_name(f".{key}.part")
        with disk_errors("prepare", part):
            if final.exists():
                shutil.rmtree(final)
            if part.exists() and not resumable:
                shutil.rmtree(part)
            part.mkdir(exist_ok=True)
        spent_path = part / ".spent.json"
        spent = (
            float(read_object(spent_path, seconds=(int, float))["seconds"])
            if spent_path.exists()
            else 0.0
        )
        begin = time.perf_counter()
        try:
            with full_disk_errors(f"write stage {stage} to", part):
                make(part)
        except BaseException:
            if resumable:
                self._note(spent_path, spent + time.perf_counter() - begin)
            else:
                shutil.rmtree(part, ignore_errors=True)
            raise
        spent_path.unlink(missing_ok=True)
        write_json(
            part / META,
            {
                "stage": stage,
                "key": key,
                "created": now(),
                "seconds": spent + time.perf_counter() - begin,
            },
        )
        with disk_errors("finish", final):
            part.rename(final)
            sync_folder(final.parent)

    @staticmethod
    def _note(path: Path, seconds: float) -> None:
        try:
            write_json(path, {"seconds": seconds})
        except StoreError as error:
            logger.warning("seconds of a failed attempt are lost: %s", error)

    @contextmanager
    def _locked(self, stage: str, key: str, timeout: float) -> Iterator[None]:
        folder = make_folder(self.root / ".locks")
        lock = FileLock(str(folder / f"{stage}-{key}.lock"))
        with disk_errors("lock", folder):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                logger.info("waiting for another process that makes stage %s %s", stage, key)
                self._wait(lock, stage, key, timeout)
        try:
            yield
        finally:
            lock.release()

    @staticmethod
    def _wait(lock: FileLock, stage: str, key: str, timeout: float) -> None:
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            raise StoreError(
                f"stage {stage} {key} was still being made by another process after "
                f"{timeout:.0f} s; end that process or start again later"
            ) from None
