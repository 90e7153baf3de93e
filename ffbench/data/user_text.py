"""Calibration text of the user's own: a folder of plain text and JSON Lines."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from ffbench.data.chunks import in_pieces

PLAIN = (".txt", ".md", ".py")
FIELDS = ("text", "context")


class TextError(ValueError):
    """A folder of text cannot be used; the text says which file and line, and why."""


def record_text(path: Path, number: int, line: str) -> str:
    """The text of one line of JSON. Raises TextError naming file and line."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise TextError(
            f"{path} line {number}: not JSON ({error.msg}); expected an object with a field text or context"
        ) from error
    found = [
        record[name]
        for name in FIELDS
        if isinstance(record, dict) and isinstance(record.get(name), str)
    ]
    if not found:
        raise TextError(f"{path} line {number}: no field {' or '.join(FIELDS)} that holds text")
    text = next((one for one in found if one.strip()), "")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TextError(
            f"{path} line {number}: characters that are no Unicode text ({error.reason})"
        ) from error
    return text


def read(path: Path) -> list[str]:
    """The texts of one file: its whole content, or one a line of JSON Lines. Raises TextError."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TextError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    if path.suffix != ".jsonl":
        return [content]
    return [
        record_text(path, number, line)
        for number, line in enumerate(content.split("\n"), 1)
        if line.strip()
    ]


@lru_cache(maxsize=4)
def own_documents(folder: str) -> dict[str, str]:
    """Name -> text of every piece of a folder's documents, its subfolders included, in the order of
    `in_pieces`.

    .txt, .md and .py files are a document each; a .jsonl file holds one a line, in the field text
    or context (as LongBench's). Raises TextError where the folder or a file cannot be used, or
    nothing is found.
    """
    root = Path(folder)
    if not root.is_dir():
        raise TextError(f"calibration.folder: {folder} is no folder")
    found: dict[str, str] = {}
    for path in sorted(
        one for one in root.rglob("*") if one.suffix in (*PLAIN, ".jsonl") and one.is_file()
    ):
        texts = read(path)
        name = path.relative_to(root).as_posix()
        found |= {f"{name}:{i}": text for i, text in enumerate(texts) if text.strip()}
    if not found:
        raise TextError(
            f"calibration.folder: {folder} holds no text; expected files {', '.join(PLAIN)} or .jsonl"
        )
    return in_pieces(found, "own")


@lru_cache(maxsize=4)
def own_hash(folder: str) -> str:
    """SHA-256 over every document: the identity of a folder of text, wherever it lies."""
    digest = hashlib.sha256()
    for name, text in own_documents(folder).items():
        digest.update(f"{name}\0{text}\0".encode())
    return digest.hexdigest()
