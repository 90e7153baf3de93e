"""A run whose scheduler asks for token-mixing scores records them by layer; others say null."""

import json
from pathlib import Path

import pytest

from ffbench.cli.main import main

TINY = [
    "model=tiny_llama",
    "tracker=none",
    "task=none",
    "block_size=32",
    "first_dense=32",
    "last_dense=32",
    "compensator=surrogate",
    "calibration.tokens=1024",
    "calibration.window=512",
    "fidelity.windows=1",
    "fidelity.contexts=[256]",
    "fidelity.tail=63",
    "fidelity.tails=[continuation]",
    "speed.rounds=0",
    "compensator.rank=8",
    "kernel=torch",
    "sparsity=0.5",
]


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
