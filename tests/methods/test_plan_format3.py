"""Plans of format 3, saved by an earlier version, still give the logits that they gave then."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_plans import tiny_model

from ffbench.methods.plan import SparsePlan
from ffbench.methods.plan_files import plan_settings
from ffbench.methods.plan_format3 import settings_of_format3
from ffbench.models.sparse_prefill import sparse_prefill

FOLDER = Path(__file__).parents[1] / "recorded" / "plans"
DENSE_FROM = 96  # of 100 tokens: format 3 kept the block with the last token dense
EVERY = 7  # of the recorded logits


@pytest.mark.parametrize("name", ["trained_map", "oracle", "cats"])
@torch.no_grad()
def test_recorded_logits(name: str, tmp_path: Path) -> None:
    expected = load_file(FOLDER / name / "expected.safetensors")
    model, plan = tiny_model(), SparsePlan.load(FOLDER / name)
    assert json.loads((FOLDER / name / "plan.json").read_text())["format_version"] == 3
    plan.save(tmp_path)
    for version in (plan, SparsePlan.load(tmp_path)):
        with sparse_prefill(model, version, "torch") as prefill:
            prefill.dense_from = [DENSE_FROM]
            logits = model(expected["ids"]).logits[0, ::EVERY]
        torch.testing.assert_close(logits, expected["logits"].view_as(logits), atol=1e-5, rtol=1e-5)
        assert prefill.density == pytest.approx(expected["density"].item(), abs=1e-4)


OLD = {
    "selector": "static",
    "compensator": "none",
    "scheduler": "uniform",
    "block_size": 64,
    "sparsity": 0.5,
    "rank": 8,
    "dense_last": False,
}
NEW = {
    ("selector", "first_block"): {"name": "griffin", "block": "first"},
    ("selector", "previous_block"): {"name": "griffin", "block": "previous"},
    ("selector", "probe_norm"): {"choice": "norm"},
    ("selector", "static_wanda"): {"name": "static", "statistic": "wanda"},
    ("selector", "static_flap"): {"name": "static", "statistic": "flap"},
    ("selector", "wina"): {"name": "wina_rule"},
    ("selector", "weight_norm"): {"name": "weight_norm"},
    ("compensator", "bias"): {"name": "bias"},
    ("compensator", "surrogate_map"): {"name": "surrogate", "rank": 8, "output_map_rank": 4},
    ("compensator", "surrogate_tuned"): {"name": "surrogate", "rank": 8, "tune_steps": 3},
    ("compensator", "lowrank"): {"name": "lowrank", "rank": 8},
    ("scheduler", "adaptive"): {"name": "per_block", "rule": "mass"},
    ("scheduler", "adaptive_energy"): {"name": "per_block", "rule": "energy"},
    ("scheduler", "token_mixing_far"): {"name": "token_mixing", "mass": "far", "floor": 0.5},
    ("scheduler", "token_mixing_no_floor"): {"name": "token_mixing", "floor": 0.0},
    ("scheduler", "token_mixing_inverse"): {"name": "token_mixing", "floor": 1.5},
}


@pytest.mark.parametrize(("group", "name"), NEW, ids=str)
def test_old_names_have_new_parameters(group: str, name: str) -> None:
    settings = settings_of_format3(OLD | {group: name, "map_rank": 4, "tune_steps": 3})
    plan = plan_settings(settings).as_dict()
    assert {key: plan[group][key] for key in NEW[group, name]} == NEW[group, name]
    assert (plan["first_dense"], plan["last_dense"]) == (64, 0)
