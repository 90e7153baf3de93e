"""The same commands on a Qwen2-family model given as a local folder and as a local GGUF file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_files import tiny_qwen2, write_folder, write_gguf
from tiny_settings import SMALL

from ffbench.cli.main import main
from ffbench.models.loading import ModelSpec, load_model

WORDS = [
    *SMALL,
    "compensator.rank=8",
    "scheduler=uniform",
    "model=folder",
    "model.name=mine",
    "task.limit=2",
    "task.max_length=400",
    "speed.rounds=1",
]


@pytest.fixture(params=[write_folder, write_gguf], ids=["folder", "gguf"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write: Callable[[Path], Path] = request.param
    return write(tmp_path / "model")


def test_both_forms_hold_the_same_model(location: Path) -> None:
    model, tokenizer = load_model(ModelSpec("mine", "folder", str(location)))
    expected, ids = (
        tiny_qwen2(),
        torch.randint(0, 257, (1, 40), generator=torch.Generator().manual_seed(0)),
    )
    torch.testing.assert_close(
        model(ids).logits, expected(ids).logits.detach(), atol=1e-4, rtol=1e-3
    )
    text = "A test of the tokenizer, \u00e9\n"
    assert tokenizer.decode(tokenizer.encode(text)) == text and model.config.model_type == "qwen2"


def test_a_run_and_a_plan(location: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = [*WORDS, f"model.location={location}", f"output_dir={tmp_path / 'out'}"]
    assert main([*words, "sparsity=0.5"]) == 0
    result = json.loads(next(tmp_path.glob("out/runs/*/result.json")).read_text())
    assert (
        result["model"] == "mine"
        and result["fidelity"]["prompt"]["kl"] > 0
        and result["speed"]["ttft"]
    )
    assert main(["plan", "save", str(tmp_path / "plan"), *words]) == 0
    assert main(["plan", "load", str(tmp_path / "plan"), *words]) == 0
    assert "layer   1  kept     80 of 160" in capsys.readouterr().out
    assert main(["plan", "load", str(tmp_path / "plan"), "model=tiny_qwen2"]) == 2
    assert "made for" in capsys.readouterr().err
