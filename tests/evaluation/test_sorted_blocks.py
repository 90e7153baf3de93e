"""Blocks of sorted tokens that keep different numbers of neurons, through a whole run."""

import json
from pathlib import Path

import pytest

from ffbench.cli.main import main


@pytest.mark.parametrize("scheduler", ["per_block scheduler.rule=energy", "curvature"])
def test_a_run(scheduler: str, tmp_path: Path) -> None:
    by_block = "" if "rule" in scheduler else " scheduler.blocks=energy"
    words = f"blocks=sorted selector=static scheduler={scheduler}{by_block} sparsity=0.5"
    quiet = ["tracker=none", "task=none", "speed.rounds=0", f"output_dir={tmp_path}"]
    assert main(["+experiment=smoke", *words.split(), *quiet]) == 0
    result = json.loads(next(tmp_path.glob("runs/*/result.json")).read_text())
    assert result["fidelity"]["prompt"]["kl"] > 0
    assert 0 < result["recall_at_k"] <= 1 and 0 < result["fidelity"]["density_used"] < 1
