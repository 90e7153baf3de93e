"""Durable small-file writing, with disk errors that say what to do."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ffbench import strict_json

LOCK_SECONDS = 30.0
ADVICE = {
    errno.ENOSPC: "the disk is full; free space and start again; what was written is kept",
    errno.EDQUOT: "the disk quota is used up; free space and start again; what was written is kept",
    errno.EFBIG: "a limit on the size of files is reached (ulimit -f); raise it and start again",
    errno.EROFS: "the file system is read-only; choose another folder with output_dir=FOLDER",
    errno.EACCES: "permission denied; choose a writable folder with output_dir=FOLDER",
    errno.EPERM: "not permitted; choose a writable folder with output_dir=FOLDER",
    errno.ENOTDIR: "a part of this path is a file; choose another folder with output_dir=FOLDER",
    errno.EEXIST: "a file has that name; choose another folder with output_dir=FOLDER",
    errno.ENAMETOOLONG: "the path is too long; choose a shorter output_dir=FOLDER",
}


class StoreError(RuntimeError):
    """The output folder cannot be read or written; the text says which file, why and what to do."""


@contextmanager
def disk_errors(action: str, path: Path) -> Iterator[None]:
    """Turn an OSError of the body into a StoreError that names `action` and `path`."""
    try:
        yield
    except OSError as error:
        advice = ADVICE.get(error.errno or 0, error.strerror or str(error))
        raise StoreError(f"cannot {action} {error.filename or path}: {advice}") from error


@contextmanager
def full_disk_errors(action: str, path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into a StoreError, whichever library met it; other errors pass.

    safetensors and torch report a full disk as their own exception whose text holds the system's
    words.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        code = error.errno if isinstance(error, OSError) else None
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
            if code == number or (code is None and os.strerror(number) in str(error)):
                raise StoreError(f"cannot {action} {path}: {ADVICE[number]}") from error
        raise


def make_folder(path: Path) -> Path:
    """Create `path` and its parents.

    Raises:
        StoreError: the folder cannot be made.

    """
    with disk_errors("create folder", path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def sync_folder(path: Path) -> None:
    """Make the names in `path` durable (a rename lives in its folder, not in the file)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, text: str) -> None:
    """Replace `path` by `text`: readers and a killed writer see the old file or the new one, never
    a part.

    Raises:
        StoreError: disk full, read-only or no permission; the old file is kept.

    """
    part = path.with_name(f".{path.name}.part")
    data = text.encode("utf-8", errors="backslashreplace")
    with disk_errors("write", path):
        try:
            with open(part, "wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON of `value`, readable but for lone surrogates, which UTF-8 cannot hold: they are escaped.

    Raises TypeError or ValueError if `value` is not JSON; NaN and infinity are not.
    """
    text = json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent, allow_nan=False)
    return text


def as_json(path: Path, value: Any) -> str:
    """Text of `value` for `path`; NaN and infinity are refused, since what was not measured is
    null.

    Raises:
        StoreError: `value` is not JSON.

    """
    try:
        return json_text(value, indent=1) + "\n"
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"cannot write {path}: {error}; use null for what was not measured"
        ) from error


def write_json(path: Path, value: Any) -> None:
    """`write_atomic` of `as_json`.

    Raises:
        StoreError: `value` is not JSON, or the disk refuses.

    """
    write_atomic(path, as_json(path, value))


def read_json(path: Path) -> Any:
    """Parsed JSON of `path`.

    Raises:
        StoreError: unreadable, or not JSON.

    """
    with disk_errors("read", path):
        data = path.read_bytes()
    try:
        return strict_json.parse(data)
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}); remove it and run again") from error


def read_object(path: Path, **kinds: type | tuple[type, ...]) -> dict[str, Any]:
    """The JSON object of a file of ours, in which each name of `kinds` has a value of that type.

    Raises:
        StoreError: unreadable, no object, or a name is missing or has another type.

    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise StoreError(f"{path} is damaged (no JSON object); remove it and run again")
    for name, kind in kinds.items():
        if not isinstance(value.get(name), kind):
            raise StoreError(f"{path} is damaged (its {name!r} is missing or of another type)")
    return value


@contextmanager
def locked(path: Path, timeout: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the lock of a file that processes share while it is read and written again.

    Raises:
        StoreError: another process held it for `timeout` seconds, or the folder cannot be written.

    """
    lock = FileLock(str(path.with_name(f".{path.name}.lock")))
    with disk_errors("lock", path):
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            raise StoreError(
                f"{path} was in use by another process for {timeout:.0f} s; try again"
            ) from None
    try:
        yield
    finally:
        lock.release()
