"""The one reader of JSON Lines: tasks and calibration text take the same files and refuse the same
faults.
"""

import codecs
import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from ffbench import strict_json

SUFFIXES = (".jsonl", ".jsonl.gz")


class DataFileError(ValueError):
    """A file of text cannot be read; the message names the file, the line and the fault."""


@contextmanager
def open_bytes(path: Path, member: str | None = None) -> Iterator[IO[bytes]]:
    """A file, a gzipped one (by its suffix .gz), or a member of a zip archive.

    Raises DataFileError if it cannot be read, also while it is read.
    """
    try:
        if member is not None:
            with zipfile.ZipFile(path) as archive, archive.open(member) as data:
                yield data
        elif path.suffix == ".gz":
            with gzip.open(path, "rb") as unpacked:
                yield cast(IO[bytes], unpacked)
        else:
            with path.open("rb") as data:
                yield data
    except (OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        name = f"{path}: {member}" if member else str(path)
        raise DataFileError(f"{name}: cannot be read ({error})") from error


def decoded(data: bytes, name: str, line: int = 1) -> str:
    """Text of UTF-8 bytes that begin at `line` of a file, a byte order mark left out. Raises
    DataFileError naming the line.
    """
    if line == 1:
        data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line += data[: error.start].count(b"\n")
        raise DataFileError(
            f"{name} line {line}: is not UTF-8 text ({error.reason}); convert the file to UTF-8"
        ) from None


def read_text(path: Path) -> str:
    """The whole text of a UTF-8 file. Raises DataFileError."""
    with open_bytes(path) as data:
        return decoded(data.read(), str(path)).replace("\r\n", "\n")


def not_unicode(value: Any) -> bool:
    """Whether a JSON value holds half of a surrogate pair, which no encoding can write."""
    if isinstance(value, str):
        return any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, dict):
        return any(not_unicode(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(map(not_unicode, value))


def parse_object(line: str, place: str) -> dict[str, Any]:
    """The JSON object on a line. Raises DataFileError naming `place` and the field."""
    try:
        row = strict_json.parse_record(line)
    except ValueError as error:
        raise DataFileError(f"{place}: not JSON ({error})") from None
    if not isinstance(row, dict):
        raise DataFileError(f"{place}: a JSON object was expected, got {type(row).__name__}")
    # Half a surrogate pair can only come from an escape: UTF-8 has no bytes for it.
    if "\\u" in line:
        for field, value in row.items():
            if not_unicode([field, value]):
                raise DataFileError(
                    f"{place}: field {field!a} is not Unicode text (half of a surrogate pair); "
                    "repair or remove the record"
                )
    return row


def read_json_lines(path: Path, member: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place ("file line n") and object of every line that is not blank. Raises DataFileError.

    Lines end at line feeds only: U+2028 and its like stay text.
    """
    name = member or path.name
    with open_bytes(path, member) as data:
        for number, raw in enumerate(data, 1):
            line = decoded(raw, name, number)
            if line.strip():
                place = f"{name} line {number}"
                yield place, parse_object(line, place)
