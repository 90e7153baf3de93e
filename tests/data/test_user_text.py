"""Calibration text from a folder."""

import json
import os
from pathlib import Path

import pytest

from ffbench.data.chunks import CHUNK_CHARACTERS
from ffbench.data.embedded_text import data_hash
from ffbench.data.user_text import TextError, user_documents, user_text_hash
from ffbench.experiment import identity
from ffbench.settings import CalibrationSettings, RunSettings
from ffbench.validation import text_problems


def fill(folder: Path) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("plain text")
    (folder / "deep" / "b.md").write_text("# a page")
    (folder / "c.jsonl").write_text(
        '{"text": "first"}\n\n' + json.dumps({"input": "?", "context": "second"}) + "\n"
    )
    (folder / "picture.png").write_bytes(b"\xff\xfe")
    (folder / "empty.txt").write_text(" \n")
    return folder


def test_every_document_is_found_once(tmp_path: Path) -> None:
    found = user_documents(str(fill(tmp_path / "x")))
    assert found == {
        "a.txt:0": "plain text",
        "deep/b.md:0": "# a page",
        "c.jsonl:0": "first",
        "c.jsonl:1": "second",
    }


def test_line_breaks_of_other_kinds_and_empty_fields(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '\ufeff{"text": " ", "context": "one\u2028two\u0085three"}\r\n', encoding="utf-8"
    )
    assert user_documents(str(tmp_path)) == {"a.jsonl:0": "one\u2028two\u0085three"}


def test_a_long_document_is_cut_and_mixed_with_the_others(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text(
        "".join(chr(97 + i % 26) for i in range(5 * CHUNK_CHARACTERS + 7))
    )
    (tmp_path / "short.txt").write_text("short")
    found = user_documents(str(tmp_path))
    names = ["long.txt:0", *(f"long.txt:0:{i}" for i in range(1, 6))]
    assert (
        "".join(found[name] for name in names) == (tmp_path / "long.txt").read_text()
        and len(found) == 7
    )
    assert list(found) != sorted(found)


def test_order_and_hash_do_not_depend_on_the_place(tmp_path: Path) -> None:
    one, two = fill(tmp_path / "one"), fill(tmp_path / "two")
    assert list(user_documents(str(one))) == list(user_documents(str(two)))
    assert user_text_hash(str(one)) == user_text_hash(str(two))
    (two / "new.txt").write_text("more")
    assert user_text_hash(str(one)) != user_text_hash(str(two))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("before")
    before = user_text_hash(str(tmp_path))
    assert user_documents(str(tmp_path)) == {"a.txt:0": "before"}
    file.write_text("after!")
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    assert user_documents(str(tmp_path)) == {"a.txt:0": "after!"}
    assert user_text_hash(str(tmp_path)) != before


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("bad.jsonl", b'{"text": "x"}\nnot json\n', "bad.jsonl line 2: not JSON"),
        ("bad.jsonl", b'{"answers": []}\n', "bad.jsonl line 1: no field text or context"),
        ("bad.jsonl", b'["text"]\n', "bad.jsonl line 1: a JSON object was expected"),
        (
            "bad.jsonl",
            b'{"text": "\\ud800"}\n',
            "bad.jsonl line 1: field 'text' is not Unicode text",
        ),
        ("bad.txt", b"\xff\xfe\x00", "bad.txt line 1: is not UTF-8 text"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TextError, match=text):
        user_documents(str(tmp_path))


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        TextError, match="holds no text; expected files .txt, .md, .py or .jsonl or .jsonl.gz"
    ):
        user_documents(str(tmp_path))
    settings = RunSettings(calibration=CalibrationSettings(folder=str(tmp_path / "none")))
    assert text_problems(settings) == [
        f"calibration.folder: {tmp_path / 'none'} is not a directory"
    ]
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "a.txt").write_text("ten words are not enough for a window of text")
    settings = RunSettings(calibration=CalibrationSettings(folder=str(tmp_path / "few")))
    assert (
        "holds 45 bytes of text, too few for one window of 2048 tokens"
        in text_problems(settings)[0]
    )


def test_the_users_text_changes_what_a_plan_is_fitted_on(tmp_path: Path) -> None:
    folder = str(fill(tmp_path / "x"))
    users = RunSettings(calibration=CalibrationSettings(folder=folder))
    assert identity.text_identity(users) == {
        "text": user_text_hash(folder),
        "chunk": CHUNK_CHARACTERS,
    }
    assert identity.text_identity(RunSettings())["text"] == data_hash() != user_text_hash(folder)
