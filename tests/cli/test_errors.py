"""The net under every command: interrupts, closed pipes, errors of users, and our own."""

import errno
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ffbench.cli import errors
from ffbench.cli.errors import guarded

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}

NO_MEMORY = "error: not enough memory; use a smaller model, window or batch"


def raising(error: BaseException) -> Any:
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize("name", sorted(errors.USER_ERRORS))
def test_every_known_error_exists(name: str) -> None:
    module, _, kind = name.rpartition(".")
    if module == "ffbench.methods.registry":
        pytest.importorskip(module)
    error = getattr(importlib.import_module(module), kind)
    made = error(["a", "b"]) if kind in ("ConfigProblems", "MethodError") else error("a\nb")
    assert errors.is_user_error(made) and errors.problems_of(made) == ["a", "b"]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "stopped"),
        (errors.UsageError("no\nnever"), 2, "error: no\nerror: never"),
        (MemoryError(), 2, NO_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory."), 2, NO_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, NO_MEMORY),
        (FileNotFoundError(errno.ENOENT, "No such file", "x.y"), 2, "error: x.y: No such file"),
        (SystemExit(3), 3, ""),
        (SystemExit(None), 0, ""),
        (SystemExit("text"), 1, ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_codes_and_lines(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture
) -> None:
    assert guarded(raising(error)) == code
    assert capsys.readouterr().err.rstrip("\n") == line


def test_our_own_errors_leave_a_traceback_in_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv(errors.DEBUG, raising=False)
    assert guarded(raising(ZeroDivisionError("by\nzero"))) == 1
    line = capsys.readouterr().err
    (saved,) = tmp_path.iterdir()
    assert line.startswith("error: unexpected ZeroDivisionError: by zero; please report it")
    assert line.count("\n") == 1 and str(saved) in line
    text = saved.read_text()
    assert "Traceback" in text and "in command" in text


def test_a_traceback_that_cannot_be_saved(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/none")
    assert guarded(raising(ZeroDivisionError())) == 1
    assert "set FFBENCH_DEBUG=1 to see the traceback" in capsys.readouterr().err


def test_debug_shows_the_traceback(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(errors.DEBUG, "1")
    assert guarded(raising(ZeroDivisionError("x"))) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_that_a_library_turned_into_its_own_error(
    capsys: pytest.CaptureFixture,
) -> None:
    def command() -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("half imported") from None
        return 0

    before = signal.getsignal(signal.SIGINT)
    assert guarded(command) == 130 and capsys.readouterr().err == "stopped\n"
    assert signal.getsignal(signal.SIGINT) is before


def test_imports_that_fail_say_which_package_or_which_file() -> None:
    missing = ModuleNotFoundError("No module named 'pandas'", name="pandas")
    assert "pip install 'ffbench[analysis]'" in errors.import_problem("report", missing)
    hidden = ImportError("cannot import name 'load' from 'pandas'", path="/here/pandas.py")
    problem = errors.import_problem("report", hidden)
    assert "hides the package of the same name: rename it" in problem and "pip" not in problem


def run(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ffbench", *words],
        capture_output=True,
        timeout=60,
        env=ENVIRONMENT | more.pop("env", {}),
        encoding=more.pop("encoding", "utf-8"),
        **more,
    )


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "ffbench", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 141 and done.stderr == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_at_the_output_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ffbench", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write the output: ")
    assert done.stderr.count("\n") == 1


def test_a_current_folder_that_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    code = "import os, sys; os.rmdir(os.getcwd()); from ffbench.cli.main import main; sys.exit(main(['status']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2 and "current folder no longer exists" in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_any_output_encoding(encoding: str, tmp_path: Path) -> None:
    folder = tmp_path / "größe ↑"
    environment = {"PYTHONIOENCODING": encoding}
    done = run("status", "--output-dir", str(folder), env=environment, encoding=encoding)
    assert done.returncode == 0 and "no runs in" in done.stdout and done.stderr == ""


def test_no_home_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ffbench.runs.home import give_home

    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", "unset by this test")
    folder = give_home()
    assert folder is not None and folder.parent == tmp_path and os.environ["HOME"] == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
