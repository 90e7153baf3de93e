"""The wheel and the source distribution hold what the installed program and the documents use."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling")

ROOT = Path(__file__).resolve().parents[2]
# Folder of the repository and where it is in the wheel.
IN_WHEEL = {
    "ffbench": "ffbench",
    "kernels/ffkernels": "ffkernels",
    "analysis/ffanalysis": "ffanalysis",
    "conf": "ffbench/conf",
    "sweeps": "ffbench/sweeps",
}
ONLY_IN_SOURCE = ("docs", "examples", ".ci", ".github", "tests/tools", "tools", "benchmarks/gpu")
OTHER_FILES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "CITATION.cff",
    "LICENSE",
    "Makefile",
)
LOCKS = ("requirements-cpu.lock", "requirements-cuda.lock", "mkdocs.yml", ".pre-commit-config.yaml")


def files(folder: str) -> set[str]:
    """Files of a folder of the repository, relative to it, without what programs leave there."""
    top = ROOT / folder
    paths = (path for path in top.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {
        path.relative_to(top).as_posix() for path in paths if path.suffix not in {".so", ".pyc"}
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Names of the files in both distributions; those of the source without its top folder."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wheel, source = next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(source) as tar:
        in_source = {name.partition("/")[2] for name in tar.getnames()}
    return {"wheel": in_wheel, "source": in_source}


@pytest.mark.parametrize("folder", IN_WHEEL)
def test_packages_settings_and_sweeps_are_in_both(folder: str, built: dict[str, set[str]]) -> None:
    names = files(folder)
    assert names
    assert {f"{IN_WHEEL[folder]}/{name}" for name in names} <= built["wheel"]
    assert {f"{folder}/{name}" for name in names} <= built["source"]


@pytest.mark.parametrize("package", ["ffbench", "ffkernels", "ffanalysis"])
def test_packages_are_marked_as_typed(package: str, built: dict[str, set[str]]) -> None:
    assert f"{package}/py.typed" in built["wheel"]


def test_what_is_no_module_is_there_too(built: dict[str, set[str]]) -> None:
    ends = (".cpp", ".h", ".css", ".js", ".html", "tasks/qasper.yaml", "tasks.json")
    for end in ends:
        assert any(name.endswith(end) for name in built["wheel"]), end
    assert not any(name.startswith(("tests/", "tools/")) for name in built["wheel"])


def test_the_source_distribution_can_be_tested_and_documented(built: dict[str, set[str]]) -> None:
    for folder in ONLY_IN_SOURCE:
        assert {f"{folder}/{name}" for name in files(folder)} <= built["source"]
    assert {*OTHER_FILES, *LOCKS, "pyproject.toml"} <= built["source"]
