"""A plan's card: README.md, file modes, and messages that name models."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_plans import random_tiny_plan, tiny_model

from ffbench.methods.plan import PlanError, SparsePlan
from ffbench.methods.plan_card import card_rows, readme
from ffbench.methods.plan_files import save_header

CARD: dict[str, Any] = {
    "model": "qwen3_06b",
    "source": "hub",
    "location": "Qwen/Qwen3-0.6B",
    "revision": "main",
    "dtype": "bfloat16",
    "calibration_text": "embedded",
    "calibration_tokens": 32768,
    "objective": {"continuation": 0.5, "copy": 0.5},
    "versions": {"ffbench": "0.1.0", "torch": "2.13.0"},
    "git_sha": "c0ffee",
    "command": "python -m ffbench plan save my_plan 'a|b'",
    "answer_kl": {"kl": 0.01824, "low": 0.0150, "high": 0.0214, "n": 32},
    "speed": {
        "where": "p20 to p80 of paired rounds in one process; some CPU, 2 threads, native kernel",
        "busy": False,
        "ttft": [{"tokens": 2048, "ratio": 1.1, "low": 1.09, "high": 1.16}],
    },
}


@pytest.fixture
def plan() -> SparsePlan:
    made = random_tiny_plan(tiny_model())
    made.fingerprint = {"model": "0" * 16, "name": "qwen3_06b"}
    made.card = json.loads(json.dumps(CARD))
    return made


def test_the_card_is_saved_and_read_again(plan: SparsePlan, tmp_path: Path) -> None:
    plan.save(tmp_path)
    assert json.loads((tmp_path / "plan.json").read_text())["card"] == CARD
    assert SparsePlan.load(tmp_path).card == CARD
    text = (tmp_path / "README.md").read_text()
    for part in (
        "qwen3_06b (Qwen/Qwen3-0.6B@main, bfloat16)",
        "| answer KL | 0.0182 (0.0150 to 0.0214), n = 32 |",
        "1.10 (1.09 to 1.16) at 2048 tokens; p20 to p80",
        "embedded, 32768 tokens",
        "continuation 0.5, copy 0.5",
        "torch 2.13.0",
        "c0ffee",
        "'a\\|b'",
        "| kept neurons by layer, of 160 | 80, 80 |",
        "| sparsity | 0.5 |",
    ):
        assert part in text
    front = yaml.safe_load(text.split("---")[1])
    assert front["base_model"] == "Qwen/Qwen3-0.6B" and front["library_name"] == "ffbench"


def test_a_kl_of_too_few_windows_has_no_interval(plan: SparsePlan) -> None:
    plan.card["answer_kl"] |= {"low": None, "high": None, "n": 2}
    assert card_rows(plan)["answer KL"] == "0.0182 (no interval), n = 2"


def test_what_was_not_measured_is_said(plan: SparsePlan) -> None:
    del plan.card["answer_kl"], plan.card["speed"]
    rows = card_rows(plan)
    assert rows["answer KL"] == rows["TTFT speedup"] == "not measured"
    assert "copy KL" not in rows
    plan.card = {}  # a plan of an earlier version
    assert "a model that the plan does not name" in readme(plan)
    assert "base_model" not in readme(plan)


def test_files_can_be_read_by_others_whatever_the_umask(plan: SparsePlan, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        plan.save(tmp_path / "plan")
        save_header(plan, tmp_path / "plan")
    finally:
        os.umask(before)
    files = sorted((tmp_path / "plan").iterdir())
    assert [path.name for path in files] == ["README.md", "plan.json", "plan.safetensors"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o644}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            {"model": "1" * 16, "name": "llama32_1b"},
            r"made for qwen3_06b \(Qwen/Qwen3-0.6B@main, bfloat16\), not for llama32_1b; give",
        ),
        ({"model": "1" * 16, "name": "qwen3_06b"}, "the given qwen3_06b has other weights"),
        ({"model": "1" * 16}, "not for the given one"),
    ],
)
def test_a_plan_for_another_model_is_refused_by_names(
    given: dict[str, str], text: str, plan: SparsePlan, tmp_path: Path
) -> None:
    plan.save(tmp_path)
    with pytest.raises(PlanError, match=text) as refused:
        SparsePlan.load(tmp_path, given)
    assert "0" * 16 not in str(refused.value) and "1" * 16 not in str(refused.value)
    assert SparsePlan.load(tmp_path, {"model": "0" * 16, "name": "renamed"}).card == CARD


def test_a_plan_without_a_card_is_refused_too(plan: SparsePlan, tmp_path: Path) -> None:
    plan.card, plan.fingerprint = {}, {"model": "0" * 16}
    plan.save(tmp_path)
    with pytest.raises(PlanError, match="made for another model, not for llama32_1b"):
        SparsePlan.load(tmp_path, {"model": "1" * 16, "name": "llama32_1b"})
    assert torch.equal(SparsePlan.load(tmp_path).layers[0].order, plan.layers[0].order)
