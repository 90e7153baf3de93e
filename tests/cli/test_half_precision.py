"""Every kind of plan is trained and judged on a bfloat16 model, as most models of the hub are."""

import json
from pathlib import Path

import pytest
from tiny_settings import SMALL

from ffbench.cli.main import main

TINY = ["model=tiny_llama", *SMALL, "model.dtype=bfloat16", "task=none"]


@pytest.mark.parametrize(
    "overrides",
    [
        "compensator=surrogate compensator.rank=8 compensator.output_map_rank=4",
        "compensator=surrogate compensator.rank=8 blocks=similar scheduler=per_block",
        "compensator.rank=8 compensator.output_map_rank=4 compensator.tune_steps=2 blocks=similar",
        "compensator=surrogate compensator.rank=8 compensator.output_map_rank=4 selector=static group_size=16",
        "compensator=lowrank compensator.rank=8",
        "compensator=rsparse compensator.rank=8",
        "compensator=none selector=svd_gate scheduler=sensitivity",
        "compensator=bias selector=probe scheduler=token_mixing",
        "compensator=none selector=cats",
    ],
    ids=lambda overrides: overrides.replace("compensator", "c"),
)
def test_a_plan_of_a_bfloat16_model(overrides: str, tmp_path: Path) -> None:
    assert main([*TINY, *overrides.split(), f"output_dir={tmp_path / 'out'}"]) == 0
    result = json.loads(next(tmp_path.glob("out/runs/*/result.json")).read_text())
    assert result["dtype"] == "bfloat16" and 0 <= result["fidelity"]["prompt"]["kl"] < 0.1
