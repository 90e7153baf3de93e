"""Old results, configurations and lines in today's names."""

import json
from pathlib import Path

import pytest

from ffbench.runs import legacy, schema
from ffbench.runs.records import parse

ROOT = Path(__file__).parents[2]
COMMITTED = sorted((ROOT / "benchmarks" / "results").glob("*/runs/*/result.json"))


@pytest.mark.parametrize(
    ("kind", "name", "settings", "expected"),
    [
        (
            "compensator",
            "surrogate_map",
            {"rank": 64, "map_rank": 96},
            ("surrogate", {"rank": 64, "output_map_rank": 96, "tune_steps": 0}),
        ),
        (
            "compensator",
            "surrogate_tuned",
            {"rank": 64, "map_rank": 104, "tune_steps": 7},
            ("surrogate", {"rank": 64, "output_map_rank": 104, "tune_steps": 7}),
        ),
        (
            "compensator",
            "surrogate",
            {"rank": 128, "map_rank": 5},
            ("surrogate", {"rank": 128, "output_map_rank": 0, "tune_steps": 0}),
        ),
        ("compensator", "none", {"rank": 128}, ("none", {})),
        ("compensator", "lowrank", {"rank": 9}, ("lowrank", {"rank": 9})),
        (
            "selector",
            "probe_norm",
            {},
            ("probe", {"choice": "norm", "share": 1 / 32, "prior_tokens": 8.0}),
        ),
        ("selector", "static_flap", None, ("static", {"statistic": "flap"})),
        ("selector", "first_block", None, ("griffin", {"block": "first"})),
        ("selector", "oracle_token", None, ("oracle_token", {})),
        (
            "scheduler",
            "token_mixing_inverse",
            None,
            ("token_mixing", {"mass": "others", "floor": 1.5}),
        ),
        ("scheduler", "adaptive_energy", None, ("per_block", {"rule": "energy"})),
        ("scheduler", "curvature", {"rank": 3}, ("curvature", {"blocks": "equal"})),
        ("scheduler", "sensitivity", None, ("sensitivity", {})),
    ],
)
def test_old_names_have_parameters(kind, name, settings, expected) -> None:  # type: ignore[no-untyped-def]
    assert legacy.current_method(kind, name, settings) == expected


def test_conversion_does_not_change_the_table() -> None:
    legacy.current_method("compensator", "surrogate_map", {"rank": 1, "map_rank": 2})
    assert legacy.RENAMED["compensator"]["surrogate_map"][1]["output_map_rank"] == 104


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_committed_results_of_schema_1_are_read(path: Path) -> None:
    old = json.loads(path.read_text())
    if old["schema_version"] != 1:
        pytest.skip("written by schema 2")
    config = json.loads(path.with_name("config.json").read_text())
    new = parse(schema.RunResult, legacy.current_result(old, config), str(path))
    assert new.schema_version == 1 and new.seed == config["seed"]
    if old["mean"].get("nll_gain_abs") is not None:
        assert new.mean is not None and new.mean.nll_increase_abs == old["mean"]["nll_gain_abs"]
    if old["fidelity"]:
        assert new.fidelity is not None and new.fidelity.prompt is not None
        assert new.fidelity.prompt.kl == old["fidelity"]["mean"]["kl"]
        assert not new.fidelity.tails and not new.fidelity.rows  # never measured then
    if old["sparsity"]:
        assert new.compensator == "surrogate"
        assert new.parameters["compensator"]["output_map_rank"] == config["compensator"]["map_rank"]
    else:
        assert new.selector == "dense" and new.objective is None


def test_every_name_is_one_that_the_registries_know_with_valid_parameters() -> None:
    pytest.importorskip("torch")
    from ffbench.methods.compensators import COMPENSATORS
    from ffbench.methods.schedulers import SCHEDULERS
    from ffbench.methods.selectors import SELECTORS
    from ffbench.methods.token_rules import TOKEN_RULES

    known = {
        "selector": [SELECTORS, TOKEN_RULES],
        "compensator": [COMPENSATORS],
        "scheduler": [SCHEDULERS],
    }
    for kind, names in legacy.RENAMED.items():
        for name, parameters in names.values():
            registry = next(registry for registry in known[kind] if name in registry)
            made = registry.make({"name": name} | parameters).parameters()
            assert made.items() >= parameters.items(), (kind, name)


def test_a_config_gets_todays_methods() -> None:
    old = {
        "selector": {"name": "probe_norm", "hot_fraction": 0.5},
        "compensator": {"name": "none", "rank": 128, "map_rank": 0, "tune_steps": 0},
        "scheduler": {"name": "adaptive"},
        "seed": 3,
    }
    assert legacy.current_config(old) == {
        "selector": {
            "name": "probe",
            "hot_fraction": 0.5,
            "choice": "norm",
            "share": 1 / 32,
            "prior_tokens": 8.0,
        },
        "compensator": {"name": "none"},
        "scheduler": {"name": "per_block", "rule": "mass"},
        "seed": 3,
    }


def test_lines_get_one_dialect_and_one_name_per_processor() -> None:
    line = legacy.current_line(
        {"dtype": "bf16", "block": 128, "group": 32, "isa": "amx", "cpu": "Intel X (AVX512)"}
    )
    assert line == {
        "dtype": "bfloat16",
        "block_size": 128,
        "group_size": 32,
        "cpu": "Intel X",
        "instruction_set": "amx",  # what ran, not what the processor's name says
    }
    speed = legacy.current_line({"selector": "static_wanda", "compensator": "surrogate", "rank": 8})
    assert speed["selector"] == "static" and "rank" not in speed and "scheduler" not in speed
    assert speed["parameters"]["compensator"]["rank"] == 8
    assert legacy.current_line(line) == line and legacy.current_line(speed) == speed


def test_ratios_of_gold_answers_are_read_under_both_names() -> None:
    old = {"gold": {"task_mean": {"ppl_ratio": 2.0, "ppl_ratio_low": 1.5}}, "mean": None}
    tail = {"fidelity": {"tails": {"copy": {"ppl_ratio": 3.0}}}}
    new = legacy.with_loss_names(old | tail)
    assert new["gold"]["task_mean"] == {"gold_ppl_ratio": 2.0, "gold_ppl_ratio_low": 1.5}
    assert new["mean"] is None and new["fidelity"] == tail["fidelity"]
    assert legacy.with_loss_names(new) == new
