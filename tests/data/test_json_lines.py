"""The reader of JSON Lines: what it takes, and what it names when it refuses a file."""

import gzip
import json
import zipfile
from pathlib import Path

import pytest

from ffbench.data.json_lines import DataFileError, read_json_lines, read_text

ROWS = [{"a": 1}, {"a": "line\u2028 and \u0085 next"}]
LINES = [json.dumps(row, ensure_ascii=False) for row in ROWS]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("plain.jsonl", "\n".join(LINES).encode()),
        ("bom.jsonl", "\n".join(LINES).encode("utf-8-sig")),
        ("blank.jsonl", f"\n{LINES[0]}\n \t\n{LINES[1]}\n\n".encode()),
        ("crlf.jsonl", ("\r\n".join(LINES) + "\r\n").encode()),
        ("packed.jsonl.gz", gzip.compress("\n".join(LINES).encode("utf-8-sig"), mtime=0)),
        ("pair.jsonl", b'{"a": 1}\n' + json.dumps(ROWS[1]).encode()),
    ],
)
def test_every_way_to_write_two_rows(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert [row for _, row in read_json_lines(tmp_path / name)] == ROWS


def test_a_member_of_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("data/x.jsonl", "\n".join(LINES))
    rows = list(read_json_lines(tmp_path / "a.zip", "data/x.jsonl"))
    assert rows == [("data/x.jsonl line 1", ROWS[0]), ("data/x.jsonl line 2", ROWS[1])]
    with pytest.raises(DataFileError, match=r"a.zip: data/y.jsonl: cannot be read"):
        list(read_json_lines(tmp_path / "a.zip", "data/y.jsonl"))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.jsonl", b'{"a": 1}\n\n{"a": \n', "x.jsonl line 3: not JSON"),
        ("x.jsonl", b'{"a": 1}\n[1]', "x.jsonl line 2: a JSON object was expected, got list"),
        ("x.jsonl", b'{}\n{"b": "\\ud83d"}', "x.jsonl line 2: field 'b' is not Unicode text"),
        ("x.jsonl", b'{"b": [{"\\ud83d": 1}]}', "x.jsonl line 1: field 'b' is not Unicode text"),
        ("x.jsonl", b'{}\n{"b": "\xff"}', "x.jsonl line 2: is not UTF-8 text"),
        ("x.jsonl", LINES[0].encode("utf-16"), "x.jsonl line 1: is not UTF-8 text"),
        ("x.jsonl", b"[" * 100_000, "x.jsonl line 1: not JSON"),
        ("x.jsonl.gz", b"no archive", "x.jsonl.gz: cannot be read"),
        ("x.jsonl.gz", gzip.compress(b'{"a": 1}', mtime=0)[:-4], "x.jsonl.gz: cannot be read"),
    ],
)
def test_a_fault_is_named_with_file_and_line(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataFileError, match=message):
        list(read_json_lines(tmp_path / name))


def test_whole_pairs_of_surrogates_are_text(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'{"a": "\\ud83d\\ude00"}')
    assert [row for _, row in read_json_lines(tmp_path / "x.jsonl")] == [{"a": "\U0001f600"}]


def test_a_missing_file_and_plain_text(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="none.txt: cannot be read"):
        read_text(tmp_path / "none.txt")
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\n\xff")
    with pytest.raises(DataFileError, match="x.txt line 3: is not UTF-8 text"):
        read_text(tmp_path / "x.txt")
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    assert read_text(tmp_path / "x.txt") == "one\ntwo"
