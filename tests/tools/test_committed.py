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


def test_paths_in_commands_are_shortened_in_earlier_starts_too() -> None:
    start = {
        "command": [
            "ffbench",
            "task.data_dir=/data/longbench",
            "calibration.folder=../some/text",
            "+sweep=x",
        ]
    }
    earlier = {
        "command": ["ffbench", "output_dir=/x", "calibration.folder=/home/me/text"],
        "cores": 2,
    }
    found = committed.without_paths("provenance.json", start | {"earlier": [earlier]})
    assert found["command"] == [
        "ffbench",
        "task.data_dir=longbench",
        "calibration.folder=text",
        "+sweep=x",
    ]
    assert found["earlier"] == [{"command": ["ffbench", "calibration.folder=text"], "cores": 2}]


def test_a_run_that_lacks_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="result.json"):
        committed.copy_run(tmp_path, tmp_path / "kept")


def test_paths_in_a_configuration_are_shortened_and_hub_names_kept() -> None:
    config = {
        "output_dir": "/somewhere",
        "task": {"data_dir": "../data/bench", "limit": 3},
        "calibration": {"folder": None},
        "model": {"location": "organisation/model"},
    }
    assert committed.without_paths("config.json", config) == {
        "output_dir": "outputs",
        "task": {"data_dir": "bench", "limit": 3},
        "calibration": {"folder": None},
        "model": {"location": "organisation/model"},
    }
