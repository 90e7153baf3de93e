"""A run whose scheduler asks for token-mixing scores records them by layer; others say null."""

import json
from pathlib import Path

import pytest
from tiny_settings import TINY as TINY_RUN

from ffbench.cli.main import main

TINY = [*TINY_RUN, "task=none", "fidelity.tails=[continuation]", "sparsity=0.5"]


@pytest.mark.parametrize(("scheduler", "scored"), [("token_mixing", True), ("uniform", False)])
def test_layers_hold_the_scores(scheduler: str, scored: bool, tmp_path: Path) -> None:
    assert main([*TINY, f"scheduler={scheduler}", f"output_dir={tmp_path}"]) == 0
    (path,) = tmp_path.glob("runs/*/result.json")
    scores = [row["token_mixing"] for row in json.loads(path.read_text())["layers"]]
    assert (
        all(isinstance(score, float) and 0 < score < 1 for score in scores)
        if scored
        else set(scores) == {None}
    )
