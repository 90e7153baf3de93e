"""The command line refuses bad input quickly, in words, before any model is loaded."""

import time
from collections.abc import Sequence

import pytest
import transformers  # noqa: F401  (its import is not what the seconds are for)

from ffbench.cli.main import main

SECONDS = 5  # a refusal costs imports and small files, never weights


def refused(
    words: Sequence[str],
    text: str,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """What `ffbench WORDS` wrote to stderr: lines that begin with "error: ", one of them with
    `text`. It must end with code 2 and print nothing else."""

    def loads(*_: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("ffbench.experiment.session.load_model", loads)
    capsys.readouterr()
    begin = time.perf_counter()
    code = main(list(words))
    seconds, captured = time.perf_counter() - begin, capsys.readouterr()
    lines = captured.err.splitlines()
    assert code == 2, captured.err
    assert seconds < SECONDS and "Traceback" not in captured.err and captured.out == ""
    assert lines and all(line.startswith("error: ") for line in lines), captured.err
    assert any(text in line for line in lines), captured.err
    return captured.err
