"""Source of LongBench's records: a folder of JSON Lines, or the published archive at a pinned
revision.
"""

import hashlib
import socket
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from ffbench.data.json_lines import SUFFIXES
from ffbench.tasks.base import TaskError

REPOSITORY = "zai-org/LongBench"  # THUDM/LongBench until 2025
REVISION = "5e628be450b7e67fb7ae6e201bd6d8f7056f7672"
ARCHIVE_SHA256 = "cb45b11a4133c6bc1d6a44b0f8e701335ff1e543195db1103472e575857f7f64"
TIMEOUT_SECONDS = 5  # for the hub's host to answer at all
BOTH_WAYS = (
    f"LongBench's records: no folder was given and {REPOSITORY} cannot be reached. Set "
    "task.data_dir= to a folder of LongBench's JSON Lines (one file per task, for example "
    "qasper.jsonl), or start once on a machine with a network, which puts data.zip (114 MB) into "
    "Hugging Face's cache, and copy that"
)


@lru_cache(maxsize=4)
def checked(path: Path, modified: int) -> Path:
    """The archive, if its bytes are the pinned ones. Raises TaskError otherwise."""
    with path.open("rb") as data:
        found = hashlib.file_digest(data, "sha256").hexdigest()
    if found != ARCHIVE_SHA256:
        raise TaskError(
            f"LongBench archive {path.name}: SHA-256 {found[:16]}... is not that of revision "
            f"{REVISION[:10]} ({ARCHIVE_SHA256[:16]}...); delete it and start again, or set "
            "task.data_dir="
        )
    return path


def reachable(endpoint: str) -> bool:
    """Whether the hub's host answers; true behind a proxy, where this cannot be told."""
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
    """The published archive, downloaded once into Hugging Face's cache. Raises TaskError at once if
    it cannot be had.

    `datasets` 4 and later refuse LongBench's loading script, so its data.zip is read directly.
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
    """The file of a task in a folder: its own, or for a LongBench-E task the one it shares.

    Raises TaskError if there is none.
    """
    stems = dict.fromkeys((task, task.removesuffix("_e")))
    names = [stem + suffix for stem in stems for suffix in SUFFIXES]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    if not folder.is_dir():
        raise TaskError(f"task.data_dir: {folder} is not a directory")
    raise TaskError(f"task.data_dir: {folder} has no {' or '.join(names)} for task {task!r}")


def source(task: str, data_dir: str | None) -> tuple[Path, str | None]:
    """The file that holds a task's records and, in an archive, the member."""
    return (
        (archive(), f"data/{task}.jsonl")
        if data_dir is None
        else (file_of(task, Path(data_dir).expanduser()), None)
    )
