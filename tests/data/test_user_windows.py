"""Windows of the user's text."""

import json
import logging
from pathlib import Path

import pytest
import torch

from ffbench.cli.main import main
from ffbench.experiment.calibration import user_windows
from ffbench.methods.plan import SparsePlan
from ffbench.models.loading import ModelSpec, load_tiny


def test_too_little_text_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.txt").write_text("word " * 40)
    tokenizer = load_tiny(ModelSpec("tiny", "tiny", "llama"))[1]
    with caplog.at_level(logging.WARNING):
        found = user_windows(tokenizer, str(tmp_path), 1000, 50)
    assert (
        1 < len(found) < 20
        and f"fills {len(found)} windows of 50 tokens, 20 were asked for" in caplog.text
    )
    caplog.clear()
    assert len(user_windows(tokenizer, str(tmp_path), 100, 50)) == 2 and not caplog.text


def test_a_run_on_own_text(tmp_path: Path) -> None:
    found = {}
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("The calibration text of this run is its own. " * 60)
    words = [
        "model=tiny_llama",
        "tracker=none",
        "task=none",
        "block_size=32",
        "calibration.tokens=1024",
        "calibration.window=512",
        "fidelity.windows=1",
        "fidelity.window=256",
        "speed.rounds=0",
        "compensator.rank=8",
        "kernel=torch",
        f"output_dir={tmp_path / 'out'}",
    ]
    for more in ([], [f"calibration.folder={tmp_path / 'text'}"]):
        assert main([*words, *more]) == 0
    for path in tmp_path.glob("out/runs/*/plan"):
        result = json.loads((path.parent / "result.json").read_text())
        found[result["calibration_text"]] = SparsePlan.load(path).layers[0].predictor.mean
    assert len(found) == 2 and "embedded" in found
    assert not torch.allclose(*found.values())
