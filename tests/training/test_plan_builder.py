"""Walking layer by layer, fitting, scheduling and judging selectors on tiny models."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_plans import plan_settings, prompt, tiny_model
from tiny_stages import FolderCache, built_plan, random_windows

from ffbench.evaluation.selection import block_metrics, selection_metrics
from ffbench.methods.chosen import selector_defaults
from ffbench.methods.compensators import COMPENSATORS
from ffbench.methods.selectors import SELECTORS
from ffbench.models.adapters import gated_ffns
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.training import layer_walk as collect
from ffbench.training.curvature import load_curvature
from ffbench.training.neuron_order import load_orders
from ffbench.training.token_mixing import attention_masses, token_mixing_scores
from ffbench.validation import token_rule_problems


@pytest.fixture
def cache(tmp_path: Path) -> FolderCache:
    return FolderCache(tmp_path)


@pytest.mark.parametrize("held", [True, False])
def test_the_walk_sees_what_a_whole_forward_sees(
    model: Any, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not held:
        monkeypatch.setattr(collect, "HELD_BYTES", 0)
    seen: dict[int, torch.Tensor] = {}
    handles = [
        ffn.module.register_forward_pre_hook(
            lambda m, args, i=ffn.layer: seen.__setitem__(i, args[0][0])
        )
        for ffn in gated_ffns(model)
    ]
    model(random_windows()[1:2])
    for handle in handles:
        handle.remove()
    for data in collect.walk_layers(model, random_windows()):
        assert bool(data.held) is held and len(data.inputs) == 3
        x, a = list(data)[1]
        torch.testing.assert_close(
            x, seen[data.ffn.layer][collect.SINK_TOKENS :], atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(a, data.activations(x), atol=1e-5, rtol=1e-4)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def pairs() -> list[tuple[str, str]]:
    """Every selector and compensator that validation lets through together."""
    return [
        (selector, compensator)
        for selector in sorted(selector_defaults())
        for compensator in sorted(COMPENSATORS)
        if not token_rule_problems(plan_settings(selector=selector, compensator=compensator))
    ]


def test_most_pairs_are_allowed() -> None:
    assert len(pairs()) > len(list(SELECTORS)) * len(list(COMPENSATORS))


@pytest.mark.parametrize(("selector", "compensator"), pairs())
def test_every_pair_trains_and_runs(selector: str, compensator: str, cache: FolderCache) -> None:
    model, ids = tiny_model(), prompt(70)
    plan = built_plan(model, cache, selector=selector, compensator=compensator)
    with sparse_prefill(model, plan, "torch") as usage:
        logits = model(ids).logits
    assert torch.isfinite(logits).all() and usage.density < 1
    assert (logits - model(ids).logits).abs().max() > 1e-4


@pytest.mark.parametrize("compensator", [*sorted(COMPENSATORS), "refined"])
def test_a_plan_at_sparsity_0_is_the_dense_model(compensator: str, cache: FolderCache) -> None:
    model, ids = tiny_model("qwen3"), prompt(70)
    node: Any = compensator
    if compensator == "refined":
        node = {"name": "surrogate", "output_map_rank": 4}
    plan = built_plan(model, cache, sparsity=0.0, compensator=node)
    with sparse_prefill(model, plan, "torch"):
        logits = model(ids).logits
    torch.testing.assert_close(logits, model(ids).logits, atol=1e-4, rtol=1e-3)


def test_the_surrogate_comes_nearer_to_dense_than_nothing(model: Any, cache: FolderCache) -> None:
    logits, ids = {}, prompt(200)
    for compensator in ({"name": "none"}, {"name": "surrogate", "rank": 32}):
        plan = built_plan(model, cache, compensator=compensator)
        with sparse_prefill(model, plan, "torch"):
            logits[compensator["name"]] = model(ids).logits
    dense = model(ids).logits
    assert (logits["surrogate"] - dense).norm() < (logits["none"] - dense).norm()


def test_fits_are_shared_by_selectors_sparsities_and_block_sizes(cache: FolderCache) -> None:
    model = tiny_model()
    for change in (
        {},
        {"selector": "static"},
        {"selector": {"name": "probe", "share": 0.5}},
        {"sparsity": 0.3},
        {"block_size": 32},
        {"first_dense": 40},
        {"scheduler": "token_mixing"},
        {"scheduler": {"name": "token_mixing", "mass": "far", "floor": 0.1}},
        {"compensator": {"name": "surrogate", "output_map_rank": 2}},
    ):
        built_plan(model, cache, **change)
    assert cache.made == ["fit", "token_mixing", "output_map"]
    built_plan(model, cache, compensator={"name": "surrogate", "rank": 9})
    assert cache.made[3:] == ["fit"]


def test_another_seed_draws_another_curvature_and_shares_the_fit(cache: FolderCache) -> None:
    model = tiny_model()
    for seed in (0, 1, 1, 2):
        built_plan(model, cache, scheduler="curvature", seed=seed)
    assert sorted(cache.made) == ["curvature", "curvature", "curvature", "fit"]
    found = [load_curvature(path) for path in sorted((cache.folder / "curvature").iterdir())]
    first, *others = [one["continuation"] for one in found]
    assert all((first != other).any() for other in others)


def test_each_method_makes_its_own_stages(
    cache: FolderCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ffbench.training.tuning.tune.SAVE_EVERY", 1)
    model = tiny_model()
    built_plan(model, cache, compensator="lowrank")
    assert cache.made == ["fit", "refit"]
    tuned = {"name": "surrogate", "output_map_rank": 2, "tune_steps": 2}
    built_plan(model, cache, compensator=tuned, scheduler="curvature")
    assert sorted(cache.made[2:]) == ["curvature", "fit", "output_map", "teacher", "tune"]
    built_plan(model, cache, compensator=tuned, scheduler="curvature")
    assert len(cache.made) == 7
    kept = [path.name for path in (cache.folder / "tune").glob("*/*")]
    assert sorted(kept) == ["layers.safetensors", "losses.json"], "the state is of no use any more"


@pytest.mark.parametrize("scheduler", ["uniform", "sensitivity"])
def test_groups_train_run_and_keep_their_members_together(
    scheduler: str, cache: FolderCache, tmp_path: Path
) -> None:
    model = tiny_model()
    plan = built_plan(model, cache, group_size=16, hot_fraction=0.5, scheduler=scheduler)
    assert cache.made.count("neuron_order") == 1
    orders = load_orders(next((tmp_path / "neuron_order").iterdir()))
    for layer, order in zip(plan.layers, orders, strict=True):
        assert layer.kept % 16 == 0 and layer.hot % 16 == 0
        groups = {frozenset(group.tolist()) for group in order.view(-1, 16)}
        assert groups == {frozenset(group.tolist()) for group in layer.order.view(-1, 16)}
        prior = layer.predictor.prior[layer.order].view(-1, 16).sum(1)
        assert bool((prior[1:] <= prior[:-1]).all()) or not layer.hot
    with sparse_prefill(model, plan, "torch") as usage:
        assert torch.isfinite(model(prompt(70)).logits).all() and usage.density < 1
    rows = selection_metrics(model, plan, random_windows(2, 128))
    assert all(0 < row["recall_at_k"] <= 1 for row in rows)


def test_a_group_that_does_not_divide_the_layer_is_refused(cache: FolderCache) -> None:
    text = "group_size: 64 does not divide the layer's 160 neurons; choose .* 1, 8, 16, 32"
    with pytest.raises(ValueError, match=text):
        built_plan(tiny_model(), cache, group_size=64)
    assert not cache.made


def test_token_mixing_against_plain_sums(model: Any) -> None:
    weights = torch.tensor([[[[1.0, 0, 0], [0.5, 0.5, 0], [0.2, 0.5, 0.3]]]])
    assert attention_masses(weights) == pytest.approx(
        {"others": (0 + 0.5) / 2, "with_sink": (0.5 + 0.7) / 2, "far": 0}
    )
    uniform = torch.full((300, 300), 1.0).tril()
    uniform = (uniform / uniform.sum(1, keepdim=True))[None, None]
    far = sum(max(0, t - 128) / (t + 1) for t in range(1, 300)) / 299
    assert attention_masses(uniform)["far"] == pytest.approx(far, rel=1e-4)
    before = model.config._attn_implementation
    scores = token_mixing_scores(model, random_windows(1, 40))
    assert all(len(part) == 2 for part in scores.values()) and all(
        0 < score < 1 for score in scores["others"]
    )
    assert model.config._attn_implementation == before


def test_block_metrics_by_hand() -> None:
    energy = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    assert block_metrics(energy, energy, 2) == (1.0, 1.0)
    recall, retained = block_metrics(torch.tensor([[9.0, 0.0, 8.0, 0.0]]), energy, 2)
    assert recall == 0.5 and retained == pytest.approx(6 / 7)


def test_the_oracle_recalls_everything_and_random_about_half(
    model: Any, cache: FolderCache
) -> None:
    rows, windows = {}, random_windows(2, 128)
    for selector in ("oracle", "random", "static"):
        plan = built_plan(model, cache, selector=selector)
        rows[selector] = selection_metrics(model, plan, windows)
    assert all(row["recall_at_k"] == pytest.approx(1) for row in rows["oracle"])
    assert all(0.4 < row["recall_at_k"] < 0.6 for row in rows["random"])
    similar = replace(
        plan, settings=plan_settings(selector="oracle", compensator="surrogate", blocks="similar")
    )
    again = selection_metrics(model, similar, random_windows(2, 140))
    assert all(row["recall_at_k"] == pytest.approx(1) for row in again)
    assert all(row["retained_energy"] > 0.8 and row["kept"] == 80 for row in rows["static"])
    with pytest.raises(ValueError, match="fewer than two blocks"):
        selection_metrics(model, plan, random_windows(1, 20))
