"""Plans that are fitted for mixtures of experts, and what such a plan cannot have."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from expert_loops import EXPERTS, RARE, WIDTH, expert_plan, neurons, tiny_mixture
from tiny_plans import plan_settings, prompt
from tiny_stages import FolderCache, built_plan, random_windows
from torch import Tensor

from ffbench.methods.plan import PlanSettings, SparsePlan
from ffbench.methods.plan_card import card_rows, readme
from ffbench.models.experts import SPARSE_MIXTURES
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.training.layer_walk import SINK_TOKENS


@pytest.fixture(scope="module", params=SPARSE_MIXTURES)
def model(request: pytest.FixtureRequest) -> Any:
    return tiny_mixture(request.param)


def calibration_counts(model: Any) -> Tensor:
    """Calibration tokens [layers * experts] that reach each expert."""
    counts = torch.zeros(2, EXPERTS)

    def add(layer: int, output: tuple[Tensor, ...]) -> None:
        chosen = output[2][SINK_TOKENS:].flatten()
        counts[layer] += torch.bincount(chosen, minlength=EXPERTS)

    handles = [
        layer.mlp.gate.register_forward_hook(lambda m, args, output, i=i: add(i, output))
        for i, layer in enumerate(model.model.layers)
    ]
    for ids in random_windows():
        model(ids[None])
    for handle in handles:
        handle.remove()
    return counts.flatten()


@pytest.mark.parametrize("compensator", ["none", "bias", "surrogate"])
@pytest.mark.parametrize("selector", ["trained", "static", "oracle", "random", "trained_lowrank"])
def test_a_fitted_plan_comes_back_from_its_folder(
    model: Any, selector: str, compensator: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = FolderCache(tmp_path / "stages")
    with caplog.at_level(logging.WARNING):
        plan = built_plan(model, cache, selector=selector, compensator=compensator)
    few, f = calibration_counts(model) < WIDTH, neurons(model)
    assert few.nonzero().flatten().tolist() == [layer * EXPERTS + one for layer, one in RARE]
    assert [layer.kept for layer in plan.layers] == [f if one else f // 2 for one in few]
    names = [
        f"layer {i // EXPERTS}, expert {i % EXPERTS}" for i in few.nonzero().flatten().tolist()
    ]
    assert f"{len(names)} of 16 experts stay dense" in caplog.text and names[-1] in caplog.text
    plan.save(tmp_path / "plan")
    back = SparsePlan.load(tmp_path / "plan")
    assert back.experts == EXPERTS and len(back.layers) == 2 * EXPERTS
    for one, other in zip(plan.layers, back.layers, strict=True):
        assert one.kept == other.kept
        assert one.tensors().keys() == other.tensors().keys()
        assert all(torch.equal(v, other.tensors()[n]) for n, v in one.tensors().items())
    ids = prompt(150)
    with sparse_prefill(model, plan):
        first = model(ids).logits
    with sparse_prefill(model, back):
        assert torch.equal(model(ids).logits, first)
    assert card_rows(back)["dense experts"] == "; ".join(names)
    assert f"{f // 2} in {16 - len(names)} experts, {f} in {len(names)} experts" in readme(back)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"scheduler": "token_mixing"}, "scheduler: 'token_mixing' is for dense models"),
    ({"selector": "griffin"}, "selector: 'griffin' reads tokens ahead of a block"),
    (
        {"selector": {"name": "griffin", "block": "previous"}},
        "selector: 'griffin' reads tokens ahead of a block",
    ),
    ({"selector": "cats"}, "selector: 'cats' is a token rule"),
    ({"compensator": "lowrank"}, "compensator: 'lowrank' is fitted to the kept neurons"),
    (
        {"compensator": {"name": "surrogate", "output_map_rank": 4, "tune_steps": 3}},
        "set compensator.output_map_rank=0 compensator.tune_steps=0",
    ),
    ({"hot_fraction": 0.5}, "hot_fraction: 0.5 is for dense models"),
    ({"group_size": 8}, "group_size: 8 is for dense models"),
    ({"compensator": "surrogate", "blocks": "sorted"}, "blocks: 'sorted' is for dense models"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_what_experts_cannot_have_is_refused(
    model: Any, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="mixture of experts") as error:
        built_plan(model, FolderCache(tmp_path), **changes)
    assert message in str(error.value) and not list(tmp_path.iterdir())
    settings: PlanSettings = plan_settings(**changes)
    with (
        pytest.raises(ValueError, match="mixture of experts") as error,
        sparse_prefill(model, replace(expert_plan(model), settings=settings)),
    ):
        pass
    assert message in str(error.value)
