"""Fidelity figures against torch's own KL and cross entropy."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from ffbench.evaluation import fidelity
from ffbench.methods.plan import PlanSettings, SparsePlan
from ffbench.models.loading import ModelSpec, load_tiny
from ffbench.models.shapes import random_plan


@pytest.fixture(scope="module")
def model() -> Any:
    return load_tiny(ModelSpec("tiny", "tiny", "llama"))[0]


@pytest.fixture
def plan(model: Any) -> SparsePlan:
    return random_plan(model, PlanSettings("static", "none", "uniform", 16, 0.5))


def test_figures_of_a_window_equal_torchs_own(model: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    dense, sparse = (torch.randn(37, 64, generator=generator) for _ in range(2))
    ids = torch.randint(259, (37,), generator=generator)
    found = fidelity.compare(model.lm_head, dense, sparse, ids, chunk=8)
    p, q = (model.lm_head(side[:-1]).double().log_softmax(-1) for side in (dense, sparse))
    assert found["kl"] == pytest.approx(
        functional.kl_div(q, p, log_target=True, reduction="batchmean").item(), rel=1e-5
    )
    assert found["nll_dense"] == pytest.approx(functional.nll_loss(p, ids[1:]).item(), rel=1e-5)
    assert found["nll_sparse"] == pytest.approx(functional.nll_loss(q, ids[1:]).item(), rel=1e-5)
    assert found["top1_agreement"] == pytest.approx(
        (p.argmax(-1) == q.argmax(-1)).double().mean().item()
    )


def test_saved_dense_states_give_the_same_figures(
    model: Any, plan: SparsePlan, tmp_path: Path
) -> None:
    windows = {"prose": torch.arange(200).view(2, 100), "code": torch.arange(100, 200).view(1, 100)}
    fidelity.save_dense(model, windows, tmp_path)
    rows = fidelity.fidelity_rows(model, plan, windows, tmp_path, "torch")
    alone = fidelity.fidelity(model, plan, windows["prose"][1], "torch")
    assert rows["prose"][1] == pytest.approx(alone)
    found = fidelity.summarise(rows, 100)
    assert found["mean"]["windows"] == 3 and found["mean"]["kl"] > 0
    assert found["mean"]["kl_low"] <= found["mean"]["kl"] <= found["mean"]["kl_high"]
    assert 0.5 < found["mean"]["density_used"] < 1


def test_a_dense_plan_changes_nothing(model: Any) -> None:
    plan = random_plan(model, PlanSettings("static", "none", "uniform", 16, 0.0))
    found = fidelity.fidelity(model, plan, torch.arange(100), "torch")
    assert found["kl"] == pytest.approx(0, abs=1e-6) and found["top1_agreement"] == 1
    assert found["ppl_ratio"] == pytest.approx(1, abs=1e-5) and found["density_used"] == 1
