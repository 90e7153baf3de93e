"""Jobs that fail: exit code, reasons, and advice that helps."""

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ffbench.cli.launchers import Failure
from ffbench.cli.launchers.task import failure_of
from ffbench.cli.main import main
from ffbench.cli.summary import failures, next_commands
from ffbench.models.errors import ModelError
from ffbench.runs.files import StoreError

FIT = ["model=tiny_llama", "task=none", "tracker=none", "block_size=32"]


def test_what_cannot_go_away_is_permanent() -> None:
    assert failure_of(ModelError("no")) == Failure("no", True)
    assert failure_of(StoreError("disk full")) == Failure("disk full", False)
    assert failure_of(ZeroDivisionError("x")) == Failure("ZeroDivisionError: x", False)
    failure = Failure("a", True)
    # workers return their failures by multiprocessing, which pickles them; no file is unpickled
    assert pickle.loads(pickle.dumps(failure)) == failure


@pytest.mark.parametrize(
    ("error", "code", "line", "again"),
    [
        (ModelError("model: weights are missing"), 2, "error: model: weights are missing", False),
        (StoreError("the disk is full"), 1, "the disk is full", True),
        (RuntimeError("odd"), 1, "RuntimeError: odd", True),
    ],
)
def test_starting_again_is_advised_only_if_it_can_help(
    error: Exception,
    code: int,
    line: str,
    again: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr("ffbench.experiment.session.load_model", fails)
    from ffbench.experiment.session import loaded_once

    loaded_once.cache_clear()
    assert main([*FIT, f"output_dir={tmp_path}"]) == code
    written = capsys.readouterr().err
    assert line in written and ("the same command resumes" in written) == again
    assert "Traceback" not in written


def test_mixed_failures_name_each_run() -> None:
    jobs: Any = {
        "a" * 16: SimpleNamespace(overrides=("seed=1",)),
        "b" * 16: SimpleNamespace(overrides=()),
        "c" * 16: SimpleNamespace(overrides=("seed=3",)),
    }
    failed = {"a" * 16: Failure("one", True), "b" * 16: Failure("two")}
    first, second, total = failures("out", jobs, failed, 4)
    assert first.startswith(f"failed: out/runs/{'a' * 16}  seed=1\n") and first.endswith("one")
    assert "defaults" in second
    assert total.startswith("2 of 3 runs failed, 1 done, 4 were done before; the same command")
    assert failures("out", jobs, {}, 0) == []


def test_the_end_names_the_next_command() -> None:
    assert next_commands("outputs", ["a", "b", "a"]) == "next: python -m ffbench compare a b"
    assert next_commands("my out", ["a"]) == (
        "next: python -m ffbench report --output-dir 'my out' --format html"
    )
