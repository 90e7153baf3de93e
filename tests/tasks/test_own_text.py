"""Calibration text from a folder."""

import json
from pathlib import Path

import pytest

from ffbench.settings import CalibrationSettings, RunSettings
from ffbench.stages import keys
from ffbench.tasks.own_text import TextError, own_documents, own_hash
from ffbench.validation import text_problems


def fill(folder: Path) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("plain text")
    (folder / "deep" / "b.md").write_text("# a page")
    (folder / "c.jsonl").write_text('{"text": "first"}\n\n' + json.dumps({"input": "?", "context": "second"}) + "\n")
    (folder / "picture.png").write_bytes(b"\xff\xfe")
    (folder / "empty.txt").write_text(" \n")
    return folder


def test_every_document_is_found_once(tmp_path: Path) -> None:
    found = own_documents(str(fill(tmp_path / "x")))
    assert found == {"a.txt:0": "plain text", "deep/b.md:0": "# a page", "c.jsonl:0": "first", "c.jsonl:1": "second"}


def test_order_and_hash_do_not_depend_on_the_place(tmp_path: Path) -> None:
    one, two = fill(tmp_path / "one"), fill(tmp_path / "two")
    assert list(own_documents(str(one))) == list(own_documents(str(two)))
    assert own_hash(str(one)) == own_hash(str(two))
    (two / "new.txt").write_text("more")
    own_documents.cache_clear()
    assert own_hash(str(one)) != own_hash(str(two))


@pytest.mark.parametrize(("name", "content", "text"), [
    ("bad.jsonl", b'{"text": "x"}\nnot json\n', "bad.jsonl line 2: not JSON"),
    ("bad.jsonl", b'{"answers": []}\n', "bad.jsonl line 1: no field text or context"),
    ("bad.jsonl", b'["text"]\n', "bad.jsonl line 1: no field text or context"),
    ("bad.txt", b"\xff\xfe\x00", "bad.txt: cannot be read as UTF-8 text"),
])
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TextError, match=text):
        own_documents(str(tmp_path))


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="holds no text; expected files .txt, .md, .py or .jsonl"):
        own_documents(str(tmp_path))
    settings = RunSettings(calibration=CalibrationSettings(folder=str(tmp_path / "none")))
    assert text_problems(settings) == [f"calibration.folder: {tmp_path / 'none'} is no folder"]


def test_own_text_changes_what_a_plan_is_fitted_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "model_identity", lambda settings: {})
    plain = keys.training_identity(RunSettings())
    own = keys.training_identity(RunSettings(calibration=CalibrationSettings(folder=str(fill(tmp_path / "x")))))
    assert plain["calibration"] == {"tokens": 65536, "window": 2048}
    assert own["calibration"]["text"] == own["data"] != plain["data"]
