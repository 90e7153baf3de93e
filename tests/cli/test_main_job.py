"""The main job on a tiny model, and refusals."""

import json
from pathlib import Path

import pytest
from tiny_settings import TINY as TINY_RUN

from ffbench.cli.main import main

TINY = [*TINY_RUN, "task.limit=2", "task.max_length=1024", "speed.rounds=1"]


def test_sweep_runs_then_finds_everything_done(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command = ["+sweep=sparsity", *TINY, f"output_dir={tmp_path}"]
    assert main(command) == 0
    first = capsys.readouterr().out
    results = sorted(tmp_path.glob("runs/*/result.json"))
    assert sorted(json.loads(path.read_text())["sparsity"] for path in results) == [0.0, 0.5, 0.7]
    stamps = [path.stat().st_mtime_ns for path in results]
    assert main(command) == 0
    assert capsys.readouterr().out == first
    assert [path.stat().st_mtime_ns for path in results] == stamps


def test_every_problem_is_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert (
        main(
            [
                *TINY,
                "sparsity=1.7",
                "block_size=0",
                "scheduler.floor=-1",
                "scheduler=token_mixing",
                f"output_dir={tmp_path}",
            ]
        )
        == 2
    )
    text = capsys.readouterr().err
    assert "sparsity: 1.7" in text and "block_size: 0" in text and "scheduler.floor: -1" in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("override", ["sparsty=0.5", "model=nothing", "sparsity=abc"])
def test_bad_overrides_end_with_code_2(override: str, capsys: pytest.CaptureFixture) -> None:
    assert main([override]) == 2
    assert "Traceback" not in capsys.readouterr().err
