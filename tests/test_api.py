"""FFBench from Python."""

from pathlib import Path

import pytest
from tiny_plans import random_tiny_plan
from tiny_settings import TINY

import ffbench
from ffbench.cli.compose import ConfigProblems
from ffbench.models.loading import ModelSpec, load_tiny


def test_bad_settings_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigProblems) as refused:
        ffbench.run(*TINY, "sparsity=2", "block_size=0", f"output_dir={tmp_path}")
    assert len(refused.value.problems) == 2


def test_runs_are_a_frame_and_are_not_repeated(tmp_path: Path) -> None:
    settings = [*TINY, "task=none", "sparsity=0.5", f"output_dir={tmp_path}"]
    first = ffbench.run(*settings)
    assert list(first["sparsity"]) == [0.5] and first["kl_copy"].notna().all()
    assert ffbench.run(*settings).equals(first)


def test_evaluate_gives_a_row_per_window_and_tail() -> None:
    model, tokenizer = load_tiny(ModelSpec("tiny", "tiny", "llama"))
    rows = ffbench.evaluate(model, tokenizer, random_tiny_plan(model), windows=2, contexts=[256])
    assert len(rows) == 2 * 2 * 2 and (rows["kl"] >= 0).all()
    assert set(rows["tail"]) == {"continuation", "copy"} and set(rows["context"]) == {256}
