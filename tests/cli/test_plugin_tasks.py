"""A task that a user's own module registers."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_settings import TINY

from ffbench import plugins
from ffbench.cli.main import main
from ffbench.tasks.base import TASKS

MODULE = """
from ffbench.tasks.base import TaskRecord, TaskSpec, add_task

TEXT = "The cat sat on the mat. " * 20


def load(choice):
    records = [TaskRecord(f"r{i}", "NAME", TEXT, "Who sat?", ("the cat",)) for i in range(3)]
    return records[: choice.limit]


add_task(
    TaskSpec(
        name="NAME",
        category="mine",
        metric="length",
        max_new_tokens=4,
        load=load,
        score=lambda text, record: 10.0 + len(text),
        chance=lambda records: None,
    )
)
"""


@pytest.fixture(autouse=True)
def _nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    before = dict(TASKS)
    yield
    TASKS.clear()
    TASKS.update(before)


def test_a_plugins_task_is_scored(tmp_path: Path) -> None:
    (tmp_path / "cat_task.py").write_text(MODULE.replace("NAME", "cats"))
    words = [*TINY, "plugins=[cat_task]", "task.tasks=[cats]", "task.limit=2", "sparsity=0"]
    assert main([*words, "output_dir=out"]) == 0
    (run,) = (tmp_path / "out" / "runs").iterdir()
    task = json.loads((run / "result.json").read_text())["tasks"]["cats"]
    assert task["n"] == 2 and task["score"] >= 10 and task["category"] == "mine"
    (plugin,) = json.loads((run / "provenance.json").read_text())["plugins"]
    assert plugin["methods"] == ["task cats"]


def test_a_task_of_a_taken_name_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken_task.py").write_text(MODULE.replace("NAME", "qasper"))
    words = [*TINY, "plugins=[taken_task]", "task.tasks=[qasper]", "output_dir=out"]
    assert main(words) == 2
    assert "task 'qasper' is registered already; choose another name" in capsys.readouterr().err
