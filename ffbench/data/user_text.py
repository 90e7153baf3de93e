"""Calibration text of the user: a folder of plain text and JSON Lines."""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from ffbench.data.chunks import in_chunks
from ffbench.data.json_lines import SUFFIXES, DataFileError, read_json_lines, read_text

PLAIN = (".txt", ".md", ".py")
FIELDS = ("text", "context")

StampedFiles = tuple[tuple[Path, int], ...]


class TextError(ValueError):
    """A folder of text cannot be used; the message says which file and line, and why."""


def record_text(place: str, record: dict[str, Any]) -> str:
    """The first field of FIELDS that holds text, "" if all are blank. Raises TextError."""
    texts = [record[name] for name in FIELDS if isinstance(record.get(name), str)]
    if not texts:
        raise TextError(f"{place}: no field {' or '.join(FIELDS)} that holds text")
    return next((text for text in texts if text.strip()), "")


def texts_of(path: Path) -> list[str]:
    """The texts of one file: its whole content, or one per line of JSON Lines. Raises TextError."""
    try:
        if path.name.endswith(SUFFIXES):
            return [record_text(place, record) for place, record in read_json_lines(path)]
        return [read_text(path)]
    except DataFileError as error:
        raise TextError(str(error)) from error


def text_files(root: Path) -> Iterator[Path]:
    """Every file below `root` that holds text, in the order of the names."""
    for path in sorted(root.rglob("*")):
        if path.name.endswith((*PLAIN, *SUFFIXES)) and path.is_file():
            yield path


def readable(name: str) -> str:
    """A file's name as text; bytes of it that are no UTF-8 are written as escapes."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def user_documents(folder: str) -> dict[str, str]:
    """Name -> text of every chunk of a folder's documents, its subfolders included, in the order of
    `in_chunks`.

    Each .txt, .md or .py file is a document; each line of a .jsonl or .jsonl.gz file holds one in
    its field text or context (as LongBench's). Raises TextError if the folder or a file cannot be
    used, or if there is no text.
    """
    return documents_of(folder, stamped_files(folder))


def stamped_files(folder: str) -> StampedFiles:
    """Every text file of a folder with its time of change (ns). Raises TextError."""
    root = Path(folder).expanduser().absolute()
    if not root.is_dir():
        raise TextError(f"calibration.folder: {folder} is not a directory")
    return tuple((path, path.stat().st_mtime_ns) for path in text_files(root))


@lru_cache(maxsize=4)
def documents_of(folder: str, files: StampedFiles) -> dict[str, str]:
    """`user_documents`, read once until a file changes."""
    root = Path(folder).expanduser().absolute()
    documents = {
        f"{readable(path.relative_to(root).as_posix())}:{i}": text
        for path, _ in files
        for i, text in enumerate(texts_of(path))
        if text.strip()
    }
    if not documents:
        raise TextError(
            f"calibration.folder: {folder} holds no text; expected files "
            f"{', '.join(PLAIN)} or {' or '.join(SUFFIXES)}"
        )
    return in_chunks(documents, "own")


def user_text_hash(folder: str) -> str:
    """SHA-256 over every document: the identity of a folder of text, wherever it is."""
    return hash_of(folder, stamped_files(folder))


@lru_cache(maxsize=4)
def hash_of(folder: str, files: StampedFiles) -> str:
    """`user_text_hash`, computed once until a file changes."""
    digest = hashlib.sha256()
    for name, text in documents_of(folder, files).items():
        digest.update(f"{name}\0{text}\0".encode())
    return digest.hexdigest()
