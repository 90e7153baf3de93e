"""Plans that are fitted for mixtures of experts, and what such a plan cannot have."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from expert_loops import (
    EXPERTS,
    MIXTURES,
    NAMES,
    WIDTH,
    expert_plan,
    ffns_of_layers,
    matrices,
    mixture_layers,
    neurons,
    rare,
    tiny_mixture,
)
from tiny_plans import plan_settings, prompt
from tiny_stages import FolderCache, built_plan, random_windows
from torch import Tensor
from torch.nn.functional import silu

from ffbench.methods.plan import PlanSettings, SparsePlan
from ffbench.methods.plan_card import card_rows, readme
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.training.layer_walk import SINK_TOKENS


@pytest.fixture(scope="module", params=MIXTURES, ids=NAMES)
def model(request: pytest.FixtureRequest) -> Any:
    family, changes = request.param
    return tiny_mixture(family, **changes)


def calibration_counts(model: Any) -> dict[tuple[int, int], int]:
    """Calibration tokens that reach each expert, by layer and number."""
    layers = mixture_layers(model)
    counts = torch.zeros(len(model.model.layers), EXPERTS, dtype=torch.int64)

    def add(layer: int, output: tuple[Tensor, ...]) -> None:
        chosen = output[2][SINK_TOKENS:].flatten()
        counts[layer] += torch.bincount(chosen, minlength=EXPERTS)

    handles = [
        model.model.layers[i].mlp.gate.register_forward_hook(
            lambda m, args, output, i=i: add(i, output)
        )
        for i in layers
    ]
    for ids in random_windows():
        model(ids[None])
    for handle in handles:
        handle.remove()
    return {(i, expert): int(counts[i, expert]) for i in layers for expert in range(EXPERTS)}


@pytest.mark.parametrize(
    ("selector", "compensator"),
    [("trained", name) for name in ("none", "bias", "surrogate")]
    + [(name, "bias") for name in ("static", "oracle", "random", "trained_lowrank")],
)
def test_a_fitted_plan_comes_back_from_its_folder(
    model: Any, selector: str, compensator: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = FolderCache(tmp_path / "stages")
    with caplog.at_level(logging.WARNING):
        plan = built_plan(model, cache, selector=selector, compensator=compensator)
    few = [place for place, count in calibration_counts(model).items() if count < WIDTH]
    assert few == rare(model)
    for entry, (layer, module, expert) in zip(plan.layers, ffns_of_layers(model), strict=True):
        f = len(matrices(module, expert)[0])
        assert entry.kept == (f if (layer, expert) in few else f // 2)
    names = [f"layer {layer}, expert {expert}" for layer, expert in few]
    assert f"{len(names)} of 16 experts stay dense" in caplog.text and names[-1] in caplog.text
    plan.save(tmp_path / "plan")
    back = SparsePlan.load(tmp_path / "plan")
    assert back.mixture and back.places == plan.places
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
    f = neurons(model)
    assert f"{f // 2} of {f} in 14 experts, {f} of {f} in 2 experts" in readme(back)


def test_what_every_token_passes_is_fitted_on_every_token(model: Any, tmp_path: Path) -> None:
    plan = built_plan(model, FolderCache(tmp_path), compensator="bias")
    for number, (_, module, expert) in enumerate(ffns_of_layers(model)):
        if expert is not None:
            continue
        seen: list[Tensor] = []
        handle = module.register_forward_pre_hook(
            lambda m, args, seen=seen: seen.append(args[0].reshape(-1, WIDTH)[SINK_TOKENS:])
        )
        for ids in random_windows():
            model(ids[None])
        handle.remove()
        gate, up, _ = matrices(module)
        x = torch.cat(seen)
        mean = (silu(x @ gate.T) * (x @ up.T)).mean(0)
        fitted: Any = plan.layers[number].compensation
        # means of 500 float32 products in two orders
        torch.testing.assert_close(fitted.mean, mean, rtol=1e-4, atol=1e-5)


def test_the_card_counts_ffns_by_kind() -> None:
    text = readme(expert_plan(tiny_mixture("glm4_moe")))
    counted = "80 of 160 in 1 dense layer, 48 of 96 in 16 experts, 96 of 192 in 2 shared experts"
    assert f"| kept neurons | {counted} |" in text


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
