"""`python -m benchmarks.peers`: what it refuses, and the lines that it appends."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from tiny_plans import random_tiny_plan, tiny_model

from benchmarks.peers import command_line
from benchmarks.peers.arms import REFERENCE, own
from benchmarks.peers.keys import plan_contents
from benchmarks.peers.prompts import prompts_of
from benchmarks.peers.session import Prompts
from ffbench.cli.compose import jobs_of
from ffbench.experiment import identity
from ffbench.methods.plan import SparsePlan

TINY = ["model=tiny_llama", "compensator=none", "scheduler=uniform"]


class Constant:
    """A loaded runtime that always takes a second and gives the same token."""

    facts: dict[str, Any] = {"runtime": "torch", "version": "0"}

    def ask(self, ids: list[int]) -> tuple[float, int]:
        return 1.0, 7

    def close(self) -> None:
        pass


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    made = random_tiny_plan(tiny_model())
    made.fingerprint = identity.fingerprint(jobs_of([*TINY, "model.dtype=float32"])[0].settings)
    made.save(tmp_path / "half")
    return tmp_path / "half"


def test_every_problem_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["--rounds=0", "--short=-1", "model.dtype=bfloat16"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 4
    for word in ("--rounds: 0", "--short: -1", "plan: give at least one", "compared at float32"):
        assert any(word in line for line in errors)


def test_plan_of_another_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random_tiny_plan(tiny_model()).save(tmp_path / "other")
    assert command_line.main([*TINY, f"plan={tmp_path / 'other'}"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_too_little_text_is_told(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = f"--out={plan.parent / 'peers.jsonl'}"
    arguments = [*TINY, f"plan={plan}", "--tokens=4000", "--rounds=5000", out]
    assert command_line.main(arguments) == 2
    # two sessions, each with a prompt to warm up
    assert "10002 are needed; choose fewer --sessions" in capsys.readouterr().err


def test_lines_and_resuming(
    plan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = []

    def start(python: list[str], request: dict[str, Any]) -> Constant:
        started.append(request)
        return Constant()

    monkeypatch.setattr(command_line, "Worker", start)
    out = plan.parent / "peers.jsonl"
    arguments = [*TINY, f"plan={plan}", "--tokens=64", "--rounds=2", "--short=1", f"--out={out}"]
    assert command_line.main(arguments) == 0
    printed = capsys.readouterr().out
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {line["session"] for line in lines} == {0, 1} and len({x["key"] for x in lines}) == 24
    half = next(line for line in lines if line["peer"] == "ours, 50% sparse")
    assert half["seconds"] == [1.0, 1.0] and half["next_tokens"] == [7] * 4
    assert half["precision"] == half["weights"] == "float32" and half["threads"] > 0
    assert str(plan.parent) not in half["command"].replace(str(out), "")
    openvino = next(line for line in lines if line["peer"].startswith("OpenVINO"))
    assert "has no GGUF file" in openvino["reason"] and openvino["seconds"] == [None, None]
    assert "| ours, 50% sparse |" in printed and "not measured: the model has no GGUF" in printed

    count = len(started)
    kept = [line for line in out.read_text().splitlines() if json.loads(line)["session"] == 1]
    out.write_text("\n".join(kept) + "\n")
    assert command_line.main(arguments) == 0  # the session that is missing
    assert len(started) == count + count // 2
    assert command_line.main(arguments) == 0 and len(started) == count + count // 2
    assert "every session is there already" in capsys.readouterr().out

    refitted = SparsePlan.load(plan)
    refitted.layers[1].predictor.prior.mul_(2)
    refitted.save(plan)
    assert command_line.main(arguments) == 0 and len(started) == 2 * count + count // 2
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len({line["run"] for line in lines}) == 2


def test_a_plans_card_and_place_do_not_count_but_its_contents_do(plan: Path) -> None:
    first, made = plan_contents(plan, SparsePlan.load(plan)), SparsePlan.load(plan)
    made.card = {"git_sha": "another"}
    made.save(plan.parent / "copy")
    assert plan_contents(plan.parent / "copy", made) == first
    for change in ("tensors", "kept", "min_tokens"):
        made = SparsePlan.load(plan)
        if change == "tensors":
            made.layers[0].predictor.mean[0] += 1
        elif change == "kept":
            made.layers[0].kept -= 1
        else:
            made.min_tokens += 1
        made.save(plan.parent / change)
        assert plan_contents(plan.parent / change, made) != first


def test_prompts_come_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _, tokenizer = command_line_model()
    options = Namespace(tokens=600, sessions=2, rounds=2, short=3)
    sessions: list[Prompts] = prompts_of(tokenizer, options)
    long = [tuple(ids) for one in sessions for ids in (one.warm_up, *one.timed)]
    short = [tuple(ids) for one in sessions for ids in one.short]
    assert len(set(long)) == 6 and {len(ids) for ids in long} == {600}
    assert len(set(short)) == 6 and {len(ids) for ids in short} == {512}


def command_line_model() -> tuple[Any, Any]:
    from ffbench.models.loading import ModelSpec, load_tiny

    return load_tiny(ModelSpec("tiny", source="tiny", location="llama"))


def test_missing_environment_names_the_command(tmp_path: Path) -> None:
    options = Namespace(python=tmp_path / "python", tokens=8)
    start = command_line.starter(options, 1, {"f16": tmp_path / "f16.gguf"})
    from benchmarks.peers.arms import peers
    from benchmarks.peers.process import WorkerError

    arm = next(one for one in peers("Q4_1") if one.gguf == "f16")
    with pytest.raises(WorkerError, match="make it with: make peers"):
        start(arm)


def test_plans_of_the_same_sparsity_have_names_of_their_own() -> None:
    plans = [(Path("a/one"), 0.5), (Path("b/two"), 0.5), (Path("c"), 0.7)]
    names = [arm.name for arm in own({}, "auto", plans)]
    assert names[0] == REFERENCE
    ours = ["ours, 50% sparse (one)", "ours, 50% sparse (two)", "ours, 70% sparse"]
    assert names[3:6] == ours
    assert names[6:] == [f"{name}, int8 FFNs" for name in ("ours, dense", *ours)]
