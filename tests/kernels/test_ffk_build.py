"""Building the C++ backend: the message, and the backend that runs instead, if it cannot be built."""

import re
from collections.abc import Iterator
from pathlib import Path

import ffk_cases
import pytest

import ffkernels
from ffkernels.native import build, library


@pytest.fixture
def unbuilt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Nothing is built or loaded yet; the cache is an empty folder."""
    monkeypatch.setenv("FFKERNELS_CACHE", str(tmp_path / "cache"))
    for cached in (library.loaded, build.library):
        cached.cache_clear()
    yield tmp_path
    for cached in (library.loaded, build.library):
        cached.cache_clear()


def script(folder: Path, text: str) -> str:
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def check_torch_runs_instead(reason: str) -> None:
    args = ffk_cases.make(37, 24, 50, 8, 13)
    with pytest.warns(
        UserWarning, match=f"no native CPU kernels .*{re.escape(reason)}.*the torch backend is used"
    ):
        ffk_cases.assert_close(ffkernels.sparse_gated_ffn(**args), args)
    assert reason in ffkernels.available_backends()["native"]
    with pytest.raises(ValueError, match=f"received 'native': .*{re.escape(reason)}"):
        ffkernels.sparse_gated_ffn(**args, backend="native")


def test_no_compiler(unbuilt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    check_torch_runs_instead("compiler found (looked for no-such-compiler; set CXX)")


def test_a_compiler_that_fails(unbuilt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "CXX",
        script(
            unbuilt, '[ "$1" = --version ] || { echo "error: unknown flag -mamx" >&2; exit 1; }'
        ),
    )
    check_torch_runs_instead("compiler failed: error: unknown flag -mamx")


def test_a_cache_folder_that_cannot_be_used(unbuilt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (unbuilt / "file").write_text("")
    monkeypatch.setenv("FFKERNELS_CACHE", str(unbuilt / "file"))
    monkeypatch.setenv("CXX", script(unbuilt, "exit 0"))
    check_torch_runs_instead("set FFKERNELS_CACHE")


def test_built_once_and_found_again(unbuilt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = unbuilt / "log"
    monkeypatch.setenv(
        "CXX",
        script(
            unbuilt,
            f'echo "$@" >> {log}; while [ $# -gt 0 ]; do [ "$1" = -o ] && touch "$2"; shift; done',
        ),
    )
    units = (("one", ("entry.cpp",)), ("two", ("entry.cpp", "-DX")))
    first = build.library(units)
    build.library.cache_clear()
    assert build.library(units) == first and first.exists()
    calls = log.read_text().splitlines()
    assert (
        sum(" -c " in line for line in calls) == 2 and sum("-shared" in line for line in calls) == 1
    )
    assert build.library((("one", ("entry.cpp", "-DY")),)) != first
