"""What a run will need, against what a small run did need."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from expert_loops import MIXTURES, NAMES, tiny_mixture
from tiny_plans import plan_settings, tiny_model
from tiny_stages import FolderCache, built_plan, run_settings

from ffbench.experiment.estimates import machine_rate, missing_flops, plan_bytes, stage_flops
from ffbench.models.random_models import random_plan
from ffbench.models.sizes import ModelSizes, sizes_of_config
from ffbench.runs.cache import StageCache


@pytest.mark.parametrize("compensator", ["surrogate", "rsparse", "none"])
def test_plan_bytes_are_those_of_a_fitted_plan(
    compensator: str, sizes: ModelSizes, tmp_path: Path
) -> None:
    plan = built_plan(tiny_model(), FolderCache(tmp_path), compensator=compensator)
    made = sum(t.nbytes for layer in plan.layers for t in layer.tensors().values())
    counted = plan_bytes(run_settings(compensator=compensator), sizes)
    # three tables of 201 quantiles and the token scale are left out: they do not grow with f
    left_out = 2 * 4 * (3 * 201 + 2 * 64 + 64)  # bytes of two layers
    assert counted <= made <= counted + left_out


@pytest.mark.parametrize(("family", "changes"), MIXTURES, ids=NAMES)
def test_plan_bytes_count_every_ffn_of_a_mixture(family: str, changes: dict[str, Any]) -> None:
    model = tiny_mixture(family, **changes)
    plan = random_plan(model, plan_settings(compensator="surrogate"))
    made = sum(t.nbytes for layer in plan.layers for t in layer.tensors().values())
    known = sizes_of_config(model.config.to_dict())
    assert known is not None
    assert plan_bytes(run_settings(compensator="surrogate"), known) == made


def test_twice_the_text_takes_twice_the_fit(sizes: ModelSizes) -> None:
    one = run_settings()
    two = replace(one, calibration=replace(one.calibration, tokens=2 * one.calibration.tokens))
    a, b = stage_flops(one, sizes)["fit"], stage_flops(two, sizes)["fit"]
    closed_forms = 2 * (10 * 64**3 + 4 * 64 * 64 * 160)
    assert b - closed_forms == pytest.approx(2 * (a - closed_forms))


def test_shared_stages_count_once_and_kept_ones_not(sizes: ModelSizes, tmp_path: Path) -> None:
    values: dict[str, Any] = {"output_dir": str(tmp_path), "scheduler": "curvature"}
    jobs = [run_settings(sparsity=share, **values) for share in (0.3, 0.5)]
    alone, both = missing_flops(jobs[:1], sizes), missing_flops(jobs, sizes)
    assert {"fit", "curvature", "dense_tails", "fidelity", "speed"} <= set(both)
    assert both["fit"] == alone["fit"] and both["curvature"] == alone["curvature"]
    assert both["fidelity"] == 2 * alone["fidelity"] and both["speed"] == 2 * alone["speed"]
    assert "tune" not in both and "token_mixing" not in both
    from ffbench.experiment.stages import RunStages

    stage = RunStages(jobs[0]).fit
    StageCache(str(tmp_path)).get_or_make(stage.name, stage.key, lambda folder: None)
    assert "fit" not in missing_flops(jobs, sizes)


def test_a_dense_run_has_no_plan(sizes: ModelSizes, tmp_path: Path) -> None:
    dense = run_settings(sparsity=0.0, output_dir=str(tmp_path))
    assert set(missing_flops([dense], sizes)) <= {"answers"}


def test_the_rate_is_that_of_a_product() -> None:
    ticks = iter([0.0, 9.0, 10.0, 12.0, 20.0, 21.0, 30.0, 34.0])
    rate = machine_rate(run_settings(), clock=lambda: next(ticks))
    assert rate == 2.0 * 768**3  # the best of three after a warm-up took one second
    assert torch.get_default_dtype() == torch.float32
