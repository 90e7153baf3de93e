"""The lock files agree with each other and with pyproject.toml; the tool says what is wrong."""

import subprocess
import tomllib
from pathlib import Path

import pytest

from tools import locks

ROOT = Path(__file__).resolve().parents[2]
CUDA = """\
# comment
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:cc
nvidia-cublas==13.1 ; sys_platform == 'linux' \\
    --hash=sha256:dd
cuda-toolkit==13.0 \\
    --hash=sha256:ee
torch==2.13.0 \\
    --hash=sha256:ff
"""
PROJECT = """\
[project]
name = "ffbench"
dependencies = ["torch>=2.9,<3", "numpy>=2"]
[project.optional-dependencies]
all = ["ffbench[dev]"]
dev = []
"""


def repository(folder: Path, cuda: str = CUDA, project: str = PROJECT) -> Path:
    (folder / locks.CUDA).write_text(cuda)
    (folder / locks.CPU).write_text(locks.cpu_text(cuda))
    (folder / "pyproject.toml").write_text(project)
    return folder


def test_the_committed_locks_fit_pyproject() -> None:
    assert locks.mismatches(ROOT) == []


def test_pyproject_has_ranges_so_that_ffbench_fits_beside_a_serving_engine() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(one for extra in extras for one in extra)]
    assert len(wanted) > 20 and not [one for one in wanted if "==" in one.partition(";")[0]]


@pytest.mark.parametrize("name", [locks.CPU, locks.CUDA])
def test_the_committed_locks_name_no_place(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    assert lines and not any("://" in line or line.startswith("-") for line in lines)


def test_every_file_of_the_cuda_lock_has_a_hash_and_torch_brings_its_triton() -> None:
    text = (ROOT / locks.CUDA).read_text()
    pinned_lines = [line for line in text.replace("\\\n", " ").splitlines() if "==" in line]
    assert len(pinned_lines) > 200 and all("--hash=sha256:" in line for line in pinned_lines)
    pinned = locks.pins(text)
    assert "triton" in pinned and any(name.startswith("nvidia-") for name in pinned)
    assert not any(
        name.startswith(locks.CUDA_LIBRARIES) for name in locks.pins((ROOT / locks.CPU).read_text())
    )


def test_entries_drop_comments_and_hashes() -> None:
    assert locks.entries(CUDA) == [
        "numpy==2.4.6 ; python_full_version < '3.12'",
        "numpy==2.5.5 ; python_full_version >= '3.12'",
        "nvidia-cublas==13.1 ; sys_platform == 'linux'",
        "cuda-toolkit==13.0",
        "torch==2.13.0",
    ]


def test_the_cpu_lock_is_the_cuda_lock_without_cuda_and_hashes() -> None:
    assert locks.entries(locks.cpu_text(CUDA)) == [
        "numpy==2.4.6 ; python_full_version < '3.12'",
        "numpy==2.5.5 ; python_full_version >= '3.12'",
        "torch==2.13.0",
    ]


@pytest.mark.parametrize("line", ["--pre", "torch>=2", "a @ file:///x.whl", "torch"])
def test_a_line_that_is_no_pin_is_refused(line: str) -> None:
    with pytest.raises(locks.LockError, match="expected name==version, received"):
        locks.pins(line)


@pytest.mark.parametrize(
    ("project", "expected"),
    [
        (PROJECT, []),
        (
            PROJECT.replace("numpy>=2", "numpy>=2.5"),
            ["numpy>=2.5 of pyproject.toml excludes the locked 2.4.6"],
        ),
        (
            PROJECT.replace("dev = []", 'dev = ["Py_Test>=8"]'),
            ["Py_Test>=8 of pyproject.toml is not in the locks"],
        ),
    ],
)
def test_mismatches(project: str, expected: list[str], tmp_path: Path) -> None:
    assert locks.mismatches(repository(tmp_path, project=project)) == expected


def test_locks_that_differ_or_are_missing_are_named(tmp_path: Path) -> None:
    repository(tmp_path)
    (tmp_path / locks.CPU).write_text(locks.cpu_text(CUDA).replace("2.13.0", "2.12.0"))
    assert locks.mismatches(tmp_path) == [
        "requirements-cpu.lock is not the one that belongs to requirements-cuda.lock"
    ]
    (tmp_path / locks.CPU).unlink()
    assert locks.mismatches(tmp_path) == [
        "requirements-cpu.lock is missing; make it with: python -m tools.locks --refresh"
    ]


def answer(code: int, out: str = "", err: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess([], code, out, err)


def test_without_network_the_check_passes_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "pip", lambda python, *words: answer(1))
    assert locks.main(["--check"]) == 0
    assert "skipped, pip does not reach the public package index" in capsys.readouterr().out


def fake_pip(python: str, *words: str) -> subprocess.CompletedProcess[str]:
    if words[0] == "--version":
        return answer(0, "pip 26.3 from somewhere")
    if words[0] == "index":
        return answer(0)
    assert words[:3] == ("install", "--dry-run", "--ignore-installed")
    if words[-1].endswith("[all]"):
        return answer(1, err="noise\nERROR: ResolutionImpossible: a fight\n")
    if words[3] == "-r":
        assert "--hash" not in Path(words[4]).read_text()
    return answer(0, "Collecting a\nWould install a-1 b-2\n")


def test_what_does_not_resolve_is_an_error_for_each_interpreter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "pip", fake_pip)
    assert locks.main(["--check", "--ranges", "--python", "one", "--python", "two"]) == 2
    printed = capsys.readouterr()
    assert printed.out.count(": 2 packages resolve for one") == 2
    assert printed.err.splitlines() == [
        f"error: pip install '.[all]' does not resolve for {python}: ERROR: ResolutionImpossible: a fight"
        for python in ("one", "two")
    ]


def test_newest_versions_are_checked_only_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "pip", fake_pip)
    assert locks.main(["--check"]) == 0


def test_an_old_pip_is_refused_since_it_would_download_torch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        locks,
        "pip",
        lambda python, *words: answer(0, "pip 23.2.1 from somewhere"),
    )
    assert locks.main(["--check"]) == 2
    assert capsys.readouterr().err == (
        "error: pip 25 or newer is needed: pip install --upgrade pip\n"
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("/x/python: No module named uv", "uv is needed to refresh the locks"),
        (
            "  x No solution found\n  because",
            "uv cannot resolve pyproject.toml: x No solution found",
        ),
    ],
)
def test_a_failed_refresh_leaves_the_locks_alone(
    error: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(tmp_path)
    before = {name: (root / name).read_text() for name in (locks.CPU, locks.CUDA)}
    monkeypatch.setattr(locks.subprocess, "run", lambda *_, **__: answer(1, err=error))
    with pytest.raises(locks.LockError, match=expected):
        locks.refresh(root, upgrade=False)
    assert before == {name: (root / name).read_text() for name in (locks.CPU, locks.CUDA)}


def test_a_refresh_keeps_pins_and_holds_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        made = Path(command[command.index("-o") + 1])
        seen["kept"] = made.read_text()
        seen["held"] = Path(command[command.index("--constraints") + 1]).read_text()
        seen["environment"] = options["env"]
        made.write_text(CUDA.replace("2.4.6", "2.4.7"))
        return answer(0)

    root = repository(tmp_path)
    monkeypatch.setenv("UV_INDEX_URL", "somewhere")
    monkeypatch.setattr(locks.subprocess, "run", run)
    locks.refresh(root, upgrade=False)
    assert seen["kept"] == CUDA and seen["held"] == "torch==2.13.0\n"
    assert "UV_INDEX_URL" not in seen["environment"]
    assert "numpy==2.4.7" in (root / locks.CPU).read_text() and locks.mismatches(root) == []
    assert (root / locks.CUDA).read_text().startswith(locks.HEADER)
