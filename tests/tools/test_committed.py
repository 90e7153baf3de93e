"""What is copied into the committed results."""

import json
from pathlib import Path

import pytest

from tools.docs import committed


def test_a_copy_holds_no_path_of_the_machine(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "result.json").write_text(json.dumps({"score": 1.25, "n": 3}))
    (run / "config.json").write_text(json.dumps({"output_dir": "/somewhere/else", "sparsity": 0.5}))
    (run / "provenance.json").write_text(
        json.dumps(
            {
                "command": [
                    "python",
                    "-m",
                    "ffbench",
                    "output_dir=/somewhere/else",
                    "sparsity=0.5",
                ],
                "cores": 2,
            }
        )
    )
    committed.copy_run(run, tmp_path / "kept" / "run")
    found = {
        path.name: json.loads(path.read_text()) for path in (tmp_path / "kept" / "run").iterdir()
    }
    assert found == {
        "result.json": {"score": 1.25, "n": 3},
        "config.json": {"output_dir": "outputs", "sparsity": 0.5},
        "provenance.json": {"command": ["python", "-m", "ffbench", "sparsity=0.5"], "cores": 2},
    }


def test_earlier_starts_and_given_folders_are_told_without_their_place() -> None:
    start = {
        "command": [
            "ffbench",
            "task.data_dir=/data/longbench",
            "calibration.folder=../text",
            "+sweep=x",
        ]
    }
    earlier = {
        "command": ["ffbench", "output_dir=/x", "calibration.folder=/home/me/text"],
        "cores": 2,
    }
    found = committed.without_place("provenance.json", start | {"earlier": [earlier]})
    assert found["command"] == [
        "ffbench",
        "task.data_dir=longbench",
        "calibration.folder=../text",
        "+sweep=x",
    ]
    assert found["earlier"] == [{"command": ["ffbench", "calibration.folder=text"], "cores": 2}]


def test_a_run_without_its_files_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="result.json"):
        committed.copy_run(tmp_path, tmp_path / "kept")
