"""The lock files: what pip installs for `make setup`, made and checked here.

python -m tools.locks --refresh              pins again what pyproject.toml asks for (needs uv)
python -m tools.locks --refresh --upgrade    the same, with the newest versions that fit
python -m tools.locks --check                the locks fit pyproject.toml, and pip resolves them
                                             from the public index, with no local wheel folder
python -m tools.locks --check --offline      only the part that needs no network
python -m tools.locks --check --ranges --python python3.12 --python python3.13
                                             also the ranges of pyproject.toml, for other Pythons

requirements-cuda.lock has the hash of every file. requirements-cpu.lock has the same versions
without the CUDA libraries and without hashes; docs/dependencies.md says why.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
CPU, CUDA = "requirements-cpu.lock", "requirements-cuda.lock"
# The committed results were measured with this release. A refresh keeps it; raising it is a change
# of its own, followed by new measurements.
HELD = ("torch==2.13.0",)
CUDA_LIBRARIES = ("nvidia-", "cuda-")
# Older ones fetch whole wheels in a dry run, which is 3 GB for torch's CUDA build.
LEAST_PIP = 25
HEADER = """\
# Made by `python -m tools.locks --refresh` from pyproject.toml; do not edit.
# docs/dependencies.md says how to install it and how to change it.
"""


class LockError(Exception):
    """A lock cannot be made or checked; the message is one line."""


def entries(text: str) -> list[str]:
    """Requirements of a lock, one per package, without comments and hashes."""
    joined = text.replace("\\\n", " ")
    lines = (
        line.partition("#")[0].partition(" --hash=")[0].strip() for line in joined.splitlines()
    )
    return [line for line in lines if line]


def cpu_text(cuda: str) -> str:
    """The CPU lock for the text of a CUDA lock."""
    kept = [line for line in entries(cuda) if not line.startswith(CUDA_LIBRARIES)]
    return HEADER + "\n".join(kept) + "\n"


def pins(text: str) -> dict[str, list[Requirement]]:
    """Pinned requirements of a lock by normalised name; markers can give a name several pins.

    Raises LockError for a line that is not `name==version`, such as an option or a URL.
    """
    pinned: dict[str, list[Requirement]] = {}
    for line in entries(text):
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            raise LockError(f"expected name==version, received {line!r}") from error
        if [one.operator for one in requirement.specifier] != ["=="] or requirement.url:
            raise LockError(f"expected name==version, received {line!r}")
        pinned.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return pinned


def wanted(root: Path) -> list[Requirement]:
    """Every direct dependency that pyproject.toml names, those of all extras included."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    requirements = [Requirement(text) for group in groups for text in group]
    own = canonicalize_name(project["name"])
    return [one for one in requirements if canonicalize_name(one.name) != own]


def mismatches(root: Path) -> list[str]:
    """What is wrong with the locks, as far as it shows without a network."""
    missing = [name for name in (CPU, CUDA) if not (root / name).is_file()]
    if missing:
        return [
            f"{name} is missing; make it with: python -m tools.locks --refresh" for name in missing
        ]
    cuda_text = (root / CUDA).read_text(encoding="utf-8")
    if (root / CPU).read_text(encoding="utf-8") != cpu_text(cuda_text):
        return [f"{CPU} is not the one that belongs to {CUDA}"]
    pinned = pins(cuda_text)
    problems = []
    for requirement in wanted(root):
        versions = [
            next(iter(pin.specifier)).version
            for pin in pinned.get(canonicalize_name(requirement.name), [])
        ]
        if not versions:
            problems.append(f"{requirement} of pyproject.toml is not in the locks")
        problems += [
            f"{requirement} of pyproject.toml excludes the locked {version}"
            for version in versions
            if version not in requirement.specifier
        ]
    return problems


def refresh(root: Path, upgrade: bool) -> None:
    """Write both locks. Pins that still fit are kept, unless `upgrade`."""
    with tempfile.TemporaryDirectory() as folder:
        held, made = Path(folder) / "held.txt", Path(folder) / "made.txt"
        held.write_text("\n".join(HELD) + "\n", encoding="utf-8")
        if (root / CUDA).exists():
            made.write_text((root / CUDA).read_text(encoding="utf-8"), encoding="utf-8")
        command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet"]
        command += ["--universal", "--python-version", "3.11", "--all-extras", "--generate-hashes"]
        command += ["--no-annotate", "--no-header", "--constraints", str(held), "-o", str(made)]
        command += ["--upgrade"] if upgrade else []
        # A private index set for uv could have other files, so other hashes, than the public one.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("UV_")
        }
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, env=environment)
        if "No module named uv" in done.stderr:
            raise LockError("uv is needed to refresh the locks; install it with: pip install uv")
        if done.returncode:
            raise LockError(f"uv cannot resolve pyproject.toml: {' '.join(done.stderr.split())}")
        text = HEADER + made.read_text(encoding="utf-8")
    (root / CUDA).write_text(text, encoding="utf-8")
    (root / CPU).write_text(cpu_text(text), encoding="utf-8")


def pip(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this environment's pip for another interpreter, with no setting of this machine."""
    command = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check"]
    command += ["--python", python, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def index_answers() -> bool:
    """True if pip reaches the public index within a few seconds."""
    return (
        pip(sys.executable, "index", "versions", "pip", "--retries=0", "--timeout=10").returncode
        == 0
    )


def resolve(python: str, arguments: list[str]) -> int:
    """Number of packages that pip would install. Raises LockError with pip's reason."""
    done = pip(python, "install", "--dry-run", "--ignore-installed", *arguments)
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise LockError("; ".join(reasons or done.stderr.splitlines()[-1:]))
    would = re.search(r"^Would install (.+)$", done.stdout, re.MULTILINE)
    return len(would[1].split()) if would else 0


def check_online(root: Path, pythons: list[str], ranges: bool) -> list[str]:
    """Resolve both locks, and `.[all]` if `ranges`; a line for each that fails."""
    if int(pip(sys.executable, "--version").stdout.split()[1].split(".")[0]) < LEAST_PIP:
        raise LockError(f"pip {LEAST_PIP} or newer is needed: pip install --upgrade pip")
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / CUDA  # with hashes, pip would fetch every wheel to check them
        plain.write_text(
            "\n".join(entries((root / CUDA).read_text(encoding="utf-8"))) + "\n", encoding="utf-8"
        )
        targets = {CPU: ["-r", str(root / CPU)], CUDA: ["-r", str(plain)]}
        # Newest versions change without this repository, so they are no part of a change's check.
        targets |= {"pip install '.[all]'": [f"{root}[all]"]} if ranges else {}
        for python in pythons:
            for name, arguments in targets.items():
                try:
                    print(
                        f"{name}: {resolve(python, arguments)} packages resolve for {python}",
                        flush=True,
                    )
                except LockError as error:
                    failures.append(f"{name} does not resolve for {python}: {error}")
    return failures


def check(root: Path, pythons: list[str], offline: bool, ranges: bool) -> list[str]:
    """All problems of the locks; says aloud what was skipped and why."""
    problems = mismatches(root)
    if problems or offline:
        return problems
    failures = check_online(root, pythons, ranges) if index_answers() else []
    if not index_answers():  # also if it was lost on the way
        print("resolving the locks: skipped, pip does not reach the public package index")
        return []
    return failures


def main(arguments: list[str] | None = None) -> int:
    """0 if the locks were written or are right, 2 otherwise."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.locks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true")
    action.add_argument("--refresh", action="store_true")
    parser.add_argument(
        "--upgrade", action="store_true", help="with --refresh: the newest versions"
    )
    parser.add_argument("--offline", action="store_true", help="with --check: no network")
    parser.add_argument("--ranges", action="store_true", help="with --check: pyproject.toml too")
    parser.add_argument("--python", action="append", metavar="INTERPRETER", help="with --check")
    options = parser.parse_args(arguments)
    try:
        if options.refresh:
            refresh(ROOT, options.upgrade)
            return 0
        pythons = options.python or [sys.executable]
        problems = check(ROOT, pythons, options.offline, options.ranges)
    except LockError as error:
        problems = [str(error)]
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if options.check and not problems:
        print(f"{CPU} and {CUDA} fit pyproject.toml")
    return 2 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
