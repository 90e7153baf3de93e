"""Every kind of plan is trained and judged on a bfloat16 model, as most models of the hub are."""

import json
from pathlib import Path

import pytest

from ffbench.cli.main import main

TINY = [
    "model=tiny_llama",
    "model.dtype=bfloat16",
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
]


@pytest.mark.parametrize(
    "words",
    [
        "compensator=surrogate_map compensator.map_rank=4",
        "compensator=surrogate blocks=similar",
        "compensator=surrogate_tuned compensator.map_rank=4 compensator.tune_steps=2 blocks=similar",
        "compensator=surrogate_map compensator.map_rank=4 selector=static group_size=16",
        "compensator=lowrank",
        "compensator=rsparse",
        "compensator=none selector=svd_gate scheduler=sensitivity",
        "compensator=bias selector=probe scheduler=token_mixing",
        "compensator=none selector=cats",
    ],
    ids=lambda words: words.replace("compensator", "c"),
)
def test_a_plan_of_a_bfloat16_model(words: str, tmp_path: Path) -> None:
    assert main([*TINY, *words.split(), f"output_dir={tmp_path / 'out'}"]) == 0
    result = json.loads(next(tmp_path.glob("out/runs/*/result.json")).read_text())
    assert result["dtype"] == "bfloat16" and 0 <= result["fidelity"]["mean"]["kl"] < 0.1
