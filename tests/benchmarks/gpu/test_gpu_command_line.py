"""`make gpu`: what it lists, and what it says where nothing can be measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import card, command_line
from benchmarks.gpu.card import Environment
from benchmarks.gpu.steps import Step, steps
from ffkernels.triton import autotune, tiles

ROOT = Path(__file__).resolve().parents[3]
CARD = Environment(
    python="3.11.7",
    packages=("torch", "triton", "hydra", "transformers", "pytest"),
    torch="2.13.0",
    triton="3.7.1",
    card="Card X",
    memory_gib=79.1,
    driver="580.1",
)


def fake_environment(monkeypatch: pytest.MonkeyPatch, seen: Environment) -> None:
    monkeypatch.setattr(command_line, "environment", lambda python, root: seen)


@pytest.mark.parametrize(("quick", "seconds"), [(False, 600), (True, 120)])
def test_the_limits_fit_the_promised_time(quick: bool, seconds: float) -> None:
    assert sum(step.seconds for step in steps(quick, Path("out"))) <= seconds


def test_every_shape_block_size_and_length_is_measured_once() -> None:
    names = [step.name for step in steps(False, Path("out"))]
    assert len(set(names)) == len(names)
    for shape in ("llama3.2-1b", "llama3.1-8b"):
        for block in (128, 256, 512):
            assert f"kernel {shape}, block {block}" in names
        for tokens in (2048, 4096, 8192, 16384):
            assert f"TTFT {shape}, {tokens} tokens" in names
    assert names[-1] == "TTFT llama3.2-1b, 4096 tokens, compiled"
    flags = [step.arguments[-2:] for step in steps(True, Path("out")) if "TTFT" in step.name]
    assert all(one[-1] == "--final-layer" for one in flags)


def test_the_line_of_a_step_names_every_speedup() -> None:
    result = {
        "ttft": [{"ratio": 1.5}],
        "baselines": [{"merged_gate_up": {"ratio": 1.4}, "compiled": {"ratio": 1.25}}],
        "final_layer": [{"ratio": 1.55}],
    }
    assert command_line.headline({"status": "ok", "result": result}) == (
        ", TTFT 1.50x (merged_gate_up 1.40x, compiled 1.25x, both by the final-layer rule 1.55x)"
    )
    plain = {"ttft": [{"ratio": 1.5}], "baselines": [], "final_layer": None}
    assert command_line.headline({"status": "ok", "result": plain}) == ", TTFT 1.50x"


def test_the_tiles_that_are_found_come_before_the_measurements_that_use_them() -> None:
    todo = steps(False, Path("out"))
    (place,) = (i for i, step in enumerate(todo) if step.variables)
    assert todo[place].variables == ((tiles.VARIABLE, Path("out") / autotune.FILE),)
    assert all(s.name.startswith(("kernel", "TTFT")) for s in todo[place + 1 :])


@pytest.mark.parametrize(
    "name",
    [
        "kernel llama3.1-8b, block 128",
        "TTFT llama3.1-8b, 2048 tokens",
        "TTFT llama3.2-1b, 4096 tokens, compiled",
    ],
)
def test_the_real_commands_refuse_nothing_but_the_missing_card(name: str, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("a card is here: make gpu runs the commands themselves")
    step = next(step for step in steps(False, tmp_path) if step.name == name)
    paths = os.pathsep.join(str(ROOT / folder) for folder in (".", "kernels", "analysis"))
    done = subprocess.run(
        [sys.executable, "-m", step.module, *step.arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    problems = done.stderr.split("error: ")[1:]
    assert done.returncode == 2 and len(problems) == 1, done.stderr
    assert problems[0].count("\n") == 1 and "device" in problems[0] and "cuda" in problems[0]


def test_without_a_card_it_says_so_in_one_line_and_succeeds() -> None:
    environment = os.environ | {"PATH": "/nowhere", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--quick"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "make gpu: this machine has no CUDA card, so nothing was measured.\n"


@pytest.mark.parametrize(
    ("torch", "expected"),
    [
        (None, "this environment has no torch"),
        ("2.13.0+cpu", "torch 2.13.0+cpu does not see it"),
    ],
)
def test_a_card_that_torch_does_not_see_is_an_error(
    torch: str | None,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = Environment(python="3.11.7", packages=(), torch=torch, driver="580.1")
    fake_environment(monkeypatch, seen)
    assert command_line.main([]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: this machine has a card, but ") and expected in error
    assert error.count("\n") == 1


def test_a_broken_interpreter_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main([], ("/nowhere/python",)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: /nowhere/python does not answer") and error.count("\n") == 1


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "1e9"])
def test_minutes_outside_their_domain_are_refused(minutes: str) -> None:
    with pytest.raises(SystemExit) as stop:
        command_line.main(["--minutes", minutes])
    assert stop.value.code == 2


def test_a_run_writes_the_environment_first_and_its_exit_code_tells_of_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_environment(monkeypatch, CARD)
    (tmp_path / "works.py").write_text("print('{\"ratio_eager\": 1.25}')")
    (tmp_path / "fails.py").write_text("raise SystemExit('no such luck')")
    monkeypatch.setattr(command_line, "ROOT", tmp_path)
    todo = [Step("works", "works", (), 20), Step("other", "works", (), 20, ("absent",))]
    monkeypatch.setattr(command_line, "steps", lambda quick, output: todo)
    assert command_line.main(["--output-dir", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(
        "Card X, 79.1 GiB, torch 2.13.0, triton 3.7.1, driver 580.1: 2 steps"
    )
    assert printed[1].startswith("[1/2] works: ok, ")
    assert printed[1].endswith(", 1.25x compared with torch eager")
    assert printed[2] == "[2/2] other: skipped: this environment lacks absent"

    todo.append(Step("fails", "fails", (), 20))
    assert command_line.main(["--output-dir", str(tmp_path / "out")]) == 1
    assert "[3/3] fails: failed" in (out := capsys.readouterr().out)
    assert ": no such luck\n" in out and "1 ok, 1 failed, 1 skipped" in out
    lines = [json.loads(line) for line in (tmp_path / "out" / "gpu.jsonl").read_text().splitlines()]
    names = [line["step"] for line in lines]
    assert names == ["environment", "works", "other", "environment", "works", "other", "fails"]
    assert lines[0]["result"]["torch"] == "2.13.0" and {line["card"] for line in lines} == {
        "Card X"
    }


@pytest.mark.parametrize(("minutes", "limit"), [("1", 20.0), ("10", 20.0), ("30", 60.0)])
def test_a_longer_run_gives_each_step_more_time(
    minutes: str, limit: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_environment(monkeypatch, CARD)
    todo, limits = [Step("works", "works", (), 20)], []
    monkeypatch.setattr(command_line, "steps", lambda quick, output: todo)
    monkeypatch.setattr(
        command_line,
        "run_all",
        lambda runner, steps, seconds, report: limits.extend(s.seconds for s in steps) or [],
    )
    assert command_line.main(["--output-dir", str(tmp_path), "--minutes", minutes]) == 0
    assert limits == [limit]


def test_the_environment_of_this_interpreter() -> None:
    import torch

    seen = card.environment((sys.executable,), ROOT)
    assert seen.torch == torch.__version__
    assert (seen.card is None) == (not torch.cuda.is_available())
    assert {"torch", "pytest"} <= set(seen.packages)


def test_nvidia_smi_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '580.95.05, [N/A], 1980'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert card.driver_facts() == {
        "driver": "580.95.05",
        "power_limit_w": None,
        "sm_clock_mhz": 1980.0,
    }
    program.write_text('#!/bin/sh\ncase "$*" in *--id=GPU-7*) echo 580.1, 350, 1980;; esac\n')
    assert card.driver_facts("GPU-7")["power_limit_w"] == 350.0
    assert card.driver_facts() == {}
    program.write_text("#!/bin/sh\necho failed; exit 9\n")
    assert card.driver_facts() == {}
