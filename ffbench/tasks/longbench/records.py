"""Where LongBench's records come from: a folder of JSON Lines, or the published archive at a pinned
revision.
"""

import hashlib
import io
import socket
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit
from urllib.request import getproxies

from ffbench.tasks.base import TaskError

REPOSITORY = "zai-org/LongBench"  # THUDM/LongBench until 2025
REVISION = "5e628be450b7e67fb7ae6e201bd6d8f7056f7672"
ARCHIVE_SHA256 = "cb45b11a4133c6bc1d6a44b0f8e701335ff1e543195db1103472e575857f7f64"
TIMEOUT_SECONDS = 5
BOTH_WAYS = (
    f"LongBench's records: neither a folder was given nor can {REPOSITORY} be reached. Two ways to get them: set "
    "task.data_dir= to a folder of LongBench's JSON Lines (one file a task, for example qasper.jsonl), or start "
    "once on a machine with a network, which puts data.zip (114 MB) into Hugging Face's cache, and take that along"
)


@lru_cache(maxsize=4)
def checked(path: Path, modified: int) -> Path:
    """The archive, once its bytes are known to be the pinned ones; TaskError otherwise."""
    with path.open("rb") as data:
        found = hashlib.file_digest(data, "sha256").hexdigest()
    if found != ARCHIVE_SHA256:
        raise TaskError(
            f"LongBench archive {path.name}: SHA-256 {found[:16]}... is not that of revision {REVISION[:10]} "
            f"({ARCHIVE_SHA256[:16]}...); delete it and start again, or set task.data_dir="
        )
    return path


def reachable(endpoint: str) -> bool:
    """Whether the hub's host answers; true behind a proxy, which this can't tell."""
    if getproxies().get("https"):
        return True
    address = urlsplit(endpoint)
    try:
        with socket.create_connection(
            (address.hostname or "", address.port or 443), TIMEOUT_SECONDS
        ):
            return True
    except OSError:
        return False


def archive() -> Path:
    """The published archive, downloaded once into Hugging Face's cache; TaskError at once where it
    can't be had.

    `datasets` 4 and later refuse LongBench's loading script, so its data.zip is read as it is.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    def fetch(local_files_only: bool) -> Path:
        return Path(
            hf_hub_download(
                REPOSITORY,
                "data.zip",
                repo_type="dataset",
                revision=REVISION,
                local_files_only=local_files_only,
            )
        )

    try:
        path = fetch(local_files_only=True)
    except LocalEntryNotFoundError:
        if constants.HF_HUB_OFFLINE or not reachable(constants.ENDPOINT):
            raise TaskError(BOTH_WAYS) from None
        try:
            path = fetch(local_files_only=False)
        except (OSError, HfHubHTTPError) as error:
            raise TaskError(f"{BOTH_WAYS} (download: {type(error).__name__}: {error})") from error
    return checked(path, path.stat().st_mtime_ns)


def file_of(task: str, folder: Path) -> Path:
    """The file of a task in a folder: its own, or for a LongBench-E task the one it shares;
    TaskError without one.
    """
    names = (f"{task}.jsonl", f"{task.removesuffix('_e')}.jsonl")
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        there = "no" if folder.is_dir() else "is no folder; it needs"
        raise TaskError(
            f"task.data_dir={folder}: {there} {' or '.join(dict.fromkeys(names))} for task {task!r}"
        )
    return path


def source(task: str, data_dir: str | None) -> tuple[Path, str | None]:
    """The file that holds a task's records and, in an archive, the member."""
    return (
        (archive(), f"data/{task}.jsonl")
        if data_dir is None
        else (file_of(task, Path(data_dir)), None)
    )


@contextmanager
def lines(path: Path, member: str | None) -> Iterator[IO[str]]:
    """The text lines of a file or of an archive's member; TaskError where that can't be read."""
    try:
        if member is None:
            with path.open(encoding="utf-8") as text:
                yield text
        else:
            with zipfile.ZipFile(path) as packed, packed.open(member) as data:
                yield io.TextIOWrapper(data, encoding="utf-8")
    except (OSError, KeyError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise TaskError(
            f"{path.name}{': ' + member if member else ''}: can't be read as UTF-8 text ({error})"
        ) from error
