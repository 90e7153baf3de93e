"""A run whose process is told to end is interrupted, one that breaks has failed."""

import contextlib
import signal
from pathlib import Path

import pytest

from ffbench.experiment import execute
from ffbench.experiment.stages import run_key
from ffbench.runs.interrupts import interrupted, interrupts_noted
from ffbench.runs.store import RunStore
from ffbench.settings import ModelSettings, RunSettings, TrackerSettings


def dense_run(folder: Path) -> RunSettings:
    return RunSettings(
        model=ModelSettings("tiny", source="tiny", location="llama"),
        tracker=TrackerSettings(kind="none"),
        sparsity=0.0,
        output_dir=str(folder),
    )


@pytest.mark.parametrize(
    ("error", "interrupted"),
    [(SystemExit(1), True), (KeyboardInterrupt(), True), (RuntimeError("out of luck"), False)],
)
def test_what_the_run_folder_says(
    error: BaseException, interrupted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dense_run(tmp_path)

    def breaks(*given: object) -> None:
        raise error

    monkeypatch.setattr(execute, "Pipeline", breaks)
    with pytest.raises(type(error)):
        execute.execute(settings, ["python", "-m", "ffbench"])
    state = RunStore(tmp_path).folder(run_key(settings)).state()
    assert state.state == "failed" and state.interrupted == interrupted
    assert interrupted or state.reason == "RuntimeError: out of luck"


def test_an_interrupt_that_a_library_turned_into_its_own_error_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*arguments: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise ModuleNotFoundError("Could not import module 'LlamaConfig'.")

    monkeypatch.setattr(execute, "Pipeline", breaks)
    settings = dense_run(tmp_path)
    # a runner in the background may have left SIGINT ignored
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.default_int_handler)
    with interrupts_noted(), pytest.raises(KeyboardInterrupt):
        execute.execute(settings, ["python", "-m", "ffbench"])
    assert RunStore(tmp_path).folder(run_key(settings)).state().interrupted
    assert not interrupted()  # a later run's own errors are not taken for this interrupt
