"""The end of a run or sweep: the table of `report`, and a picture of several runs."""

import shutil
import sys
from pathlib import Path

import pytest

from ffbench.cli import summary
from ffbench.cli.main import main

RECORDED = Path(__file__).parents[1] / "recorded" / "data"
KEYS = [f"{number:016x}" for number in (6, 7)]


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """An output folder with finished runs."""
    return Path(shutil.copytree(RECORDED, tmp_path / "outputs"))


def test_the_table_is_that_of_report_and_two_sentences_follow(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(summary, "draw_sweep", lambda *arguments: None)
    summary.finish(str(finished), [*KEYS, KEYS[0]], "sparsity")
    at_the_end = capsys.readouterr().out
    assert "answer KL" in at_the_end and "| static " in at_the_end
    shown, found = at_the_end.split("found: ")
    assert main(["report", *KEYS, "--output-dir", str(finished)]) == 0
    runs = capsys.readouterr().out
    assert main(["report", *KEYS, "--output-dir", str(finished), "--by", "task"]) == 0
    tasks = capsys.readouterr().out.partition("\n\n")[2]
    assert tasks.count("embedded_") > 1 and shown == f"{runs}\n{tasks}"
    assert "sparsity: " in found and "\ntry next: " in found


def test_many_tasks_are_left_to_the_report(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(summary, "draw_sweep", lambda *arguments: None)
    monkeypatch.setattr(summary, "TASK_ROWS", 1)
    summary.finish(str(finished), KEYS, "sparsity")
    assert "embedded_code" not in capsys.readouterr().out


def test_one_run_makes_no_picture_and_unfinished_ones_no_table(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[object] = []
    monkeypatch.setattr(summary, "draw_sweep", lambda *arguments: drawn.append(arguments))
    summary.finish(str(finished), [KEYS[0], "f" * 16], None)
    assert KEYS[0] in capsys.readouterr().out and not drawn
    summary.finish(str(finished), ["f" * 16], None)
    assert capsys.readouterr().out == ""


def test_without_the_packages_it_says_how_to_get_them(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ffanalysis.report", None)
    summary.print_table(str(finished), KEYS)
    shown = capsys.readouterr()
    assert shown.out == "" and "no table: " in shown.err
