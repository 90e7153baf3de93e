"""`python -m ffbench sample`: what is written, that a stop changes nothing, refusals."""

import json
from pathlib import Path
from typing import Any

import pytest

from ffbench.cli.main import main
from ffbench.cli.sample import SETTINGS, TEXT
from ffbench.data.user_text import user_documents

WORDS = ["model=tiny_llama", "calibration.tokens=3200", "calibration.window=256"]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / TEXT).read_text().splitlines()]


def test_a_stopped_text_goes_on_as_if_it_had_not_been(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(["sample", str(whole), *WORDS]) == 0
    out = capsys.readouterr().out
    assert f"calibration.folder={whole}" in out and "model=tiny_llama" in out
    text = lines(whole)
    assert sum(line["tokens"] for line in text) >= 3200 and len(text) > 17
    assert sum(line["tokens"] for line in text[:-1]) < 3200
    assert all(0 < line["tokens"] <= 256 and line["kind"] == "raw" for line in text)
    assert user_documents(str(whole))  # what plans are fitted on
    assert main(["sample", str(stopped), *WORDS]) == 0
    data = (stopped / TEXT).read_bytes()
    assert data == (whole / TEXT).read_bytes()
    kept = data.splitlines(keepends=True)
    (stopped / TEXT).write_bytes(b"".join(kept[:5]) + kept[5][:9])  # inside the first batch
    assert main(["sample", str(stopped), *WORDS]) == 0
    assert (stopped / TEXT).read_bytes() == data
    (stopped / TEXT).write_bytes(b"".join(kept[:17]))  # inside the second
    assert main(["sample", str(stopped), *WORDS]) == 0
    assert (stopped / TEXT).read_bytes() == data


def test_another_seed_is_another_text_and_wants_another_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["sample", str(tmp_path / "a"), *WORDS]) == 0
    assert main(["sample", str(tmp_path / "b"), *WORDS, "seed=100"]) == 0
    assert (tmp_path / "a" / TEXT).read_bytes() != (tmp_path / "b" / TEXT).read_bytes()
    before = (tmp_path / "a" / TEXT).read_bytes()
    capsys.readouterr()
    assert main(["sample", str(tmp_path / "a"), *WORDS, "seed=100"]) == 2
    assert "written with another seed; choose another folder" in capsys.readouterr().err
    assert (tmp_path / "a" / TEXT).read_bytes() == before


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / TEXT).write_text("{}\n")
    (tmp_path / "file").write_text("")
    for words, message in (
        ([str(tmp_path), *WORDS], "was not written by this command"),
        ([str(tmp_path / "file"), *WORDS], "is a file; choose a folder"),
        ([str(tmp_path / "new"), *WORDS, "seed=1,2"], "2 jobs were given"),
        ([str(tmp_path / "new"), "model=tiny"], "model"),
    ):
        assert main(["sample", *words]) == 2
        captured = capsys.readouterr()
        assert message in captured.err and captured.err.startswith("error: ") and not captured.out
    assert not (tmp_path / "new").exists() and not (tmp_path / SETTINGS).exists()
