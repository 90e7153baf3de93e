"""Walking layer by layer, fitting, scheduling and judging selectors on tiny models."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ffbench.evaluation.selection import block_figures, selection_figures
from ffbench.methods.plan import PlanSettings
from ffbench.methods.selectors import SELECTORS
from ffbench.models.adapters import gated_ffns
from ffbench.models.loading import ModelSpec, load_tiny
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.settings import CompensatorSettings, RunSettings, SelectorSettings
from ffbench.training import layer_walk as collect
from ffbench.training.layer_fit import COMPENSATORS
from ffbench.training.neuron_order import load_orders
from ffbench.training.plan_builder import TrainingText, train_plan
from ffbench.training.token_mixing import mixing_of, token_mixing_scores
from ffbench.validation import token_rule_problems

IDENTITY = {"model": "tiny", "data": "random"}


def settings(**changes: Any) -> PlanSettings:
    values = {
        "selector": "trained",
        "compensator": "surrogate",
        "scheduler": "uniform",
        "block_size": 16,
        "sparsity": 0.5,
        "rank": 8,
        "tune_steps": 2,
        "map_rank": 4,
    }
    return PlanSettings(**(values | changes))


def windows(count: int = 3, length: int = 300) -> torch.Tensor:
    return torch.randint(3, 259, (count, length), generator=torch.Generator().manual_seed(0))


def text() -> TrainingText:
    return TrainingText(windows(), lambda length: windows(4, length))


@pytest.fixture
def cache(tmp_path: Path) -> Any:
    made: list[str] = []

    def get(
        stage: str, identity: dict, make: Callable[[Path], None], *, resumable: bool = False
    ) -> Path:
        folder = tmp_path / stage / str(abs(hash(repr(identity))))
        if not folder.exists():
            folder.mkdir(parents=True)
            make(folder)
            made.append(stage)
        return folder

    get.made = made  # type: ignore[attr-defined]
    return get


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
    model(windows()[1:2])
    for handle in handles:
        handle.remove()
    for data in collect.walk_layers(model, windows()):
        assert bool(data.held) is held and len(data.inputs) == 3
        x, a = list(data)[1]
        torch.testing.assert_close(
            x, seen[data.ffn.layer][collect.SINK_TOKENS :], atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(a, data.activations(x), atol=1e-5, rtol=1e-4)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_too_little_text_is_refused() -> None:
    tokenizer = load_tiny(ModelSpec("tiny", "tiny", "llama"))[1]
    assert collect.windows(tokenizer, ["ab" * 30], 60, 25).shape == (2, 25)
    with pytest.raises(ValueError, match="one window needs 100"):
        collect.windows(tokenizer, ["short"], 200, 100)


def pairs() -> list[tuple[str, str]]:
    """Every selector and compensator that validation lets through together."""
    both = [
        (selector, compensator) for selector in sorted(SELECTORS) for compensator in COMPENSATORS
    ]
    return [
        (s, c)
        for s, c in both
        if not token_rule_problems(
            RunSettings(selector=SelectorSettings(s), compensator=CompensatorSettings(c))
        )
    ]


@pytest.mark.parametrize(("selector", "compensator"), pairs())
def test_every_pair_trains_and_runs(selector: str, compensator: str, cache: Any) -> None:
    model = load_tiny(ModelSpec("tiny", "tiny", "llama"))[0]
    plan = train_plan(
        model,
        settings(selector=selector, compensator=compensator),
        text(),
        IDENTITY,
        cache,
        {"model": "x"},
    )
    ids = windows(1, 70)
    with sparse_prefill(model, plan, "torch") as usage:
        logits = model(ids).logits
    assert torch.isfinite(logits).all() and usage.density < 1
    assert (logits - model(ids).logits).abs().max() > 1e-4


def test_a_plan_at_sparsity_0_is_the_dense_model(model: Any, cache: Any) -> None:
    for compensator in COMPENSATORS:
        plan = train_plan(
            model, settings(sparsity=0.0, compensator=compensator), text(), IDENTITY, cache, {}
        )
        with sparse_prefill(model, plan, "torch"):
            found = model(windows(1, 70)).logits
        torch.testing.assert_close(found, model(windows(1, 70)).logits, atol=1e-4, rtol=1e-3)


def test_the_surrogate_comes_nearer_to_dense_than_nothing(model: Any, cache: Any) -> None:
    found, ids = {}, windows(1, 200)
    for compensator in ("none", "surrogate"):
        plan = train_plan(
            model, settings(compensator=compensator, rank=32), text(), IDENTITY, cache, {}
        )
        with sparse_prefill(model, plan, "torch"):
            found[compensator] = model(ids).logits
    dense = model(ids).logits
    assert (found["surrogate"] - dense).norm() < (found["none"] - dense).norm()


def test_fits_are_shared_by_selectors_sparsities_and_block_sizes(cache: Any) -> None:
    model = load_tiny(ModelSpec("tiny", "tiny", "llama"))[0]
    for change in (
        {},
        {"selector": "static"},
        {"sparsity": 0.3},
        {"block_size": 32},
        {"scheduler": "token_mixing"},
    ):
        train_plan(model, settings(**change), text(), IDENTITY, cache, {})
    assert cache.made == ["fit", "mixing"]


@pytest.mark.parametrize("scheduler", ["uniform", "sensitivity"])
def test_groups_train_run_and_keep_their_members_together(
    scheduler: str, cache: Any, tmp_path: Path
) -> None:
    model = load_tiny(ModelSpec("tiny", "tiny", "llama"))[0]
    plan = train_plan(
        model,
        settings(group_size=16, hot_fraction=0.5, scheduler=scheduler),
        text(),
        IDENTITY,
        cache,
        {},
    )
    assert cache.made.count("regroup") == 1
    orders = load_orders(next((tmp_path / "regroup").iterdir()))
    for layer, order in zip(plan.layers, orders, strict=True):
        assert layer.kept % 16 == 0 and layer.hot % 16 == 0
        groups = {frozenset(group.tolist()) for group in order.view(-1, 16)}
        assert groups == {frozenset(group.tolist()) for group in layer.order.view(-1, 16)}
        prior = layer.predictor.prior[layer.order].view(-1, 16).sum(1)
        assert bool((prior[1:] <= prior[:-1]).all())
    with sparse_prefill(model, plan, "torch") as usage:
        assert torch.isfinite(model(windows(1, 70)).logits).all() and usage.density < 1
    assert all(
        0 < row["recall_at_k"] <= 1 for row in selection_figures(model, plan, windows(2, 128))
    )


def test_a_group_that_does_not_divide_the_layer_is_refused(model: Any, cache: Any) -> None:
    with pytest.raises(
        ValueError,
        match="group_size: 64 does not divide the layer's 160 neurons; choose .* 1, 8, 16, 32",
    ):
        train_plan(model, settings(group_size=64), text(), IDENTITY, cache, {})
    assert not cache.made


def test_token_mixing_against_plain_sums(model: Any) -> None:
    weights = torch.tensor([[[[1.0, 0, 0], [0.5, 0.5, 0], [0.2, 0.5, 0.3]]]])
    assert mixing_of(weights) == pytest.approx(
        {"others": (0 + 0.5) / 2, "with_sink": (0.5 + 0.7) / 2, "far": 0}
    )
    uniform = torch.full((300, 300), 1.0).tril()
    uniform = (uniform / uniform.sum(1, keepdim=True))[None, None]
    far = sum(max(0, t - 128) / (t + 1) for t in range(1, 300)) / 299
    assert mixing_of(uniform)["far"] == pytest.approx(far, rel=1e-4)
    before = model.config._attn_implementation
    scores = token_mixing_scores(model, windows(1, 40))
    assert all(len(part) == 2 for part in scores.values()) and all(
        0 < score < 1 for score in scores["others"]
    )
    assert model.config._attn_implementation == before


def test_block_figures_by_hand() -> None:
    energy = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    assert block_figures(energy, energy, 2) == (1.0, 1.0)
    recall, retained = block_figures(torch.tensor([[9.0, 0.0, 8.0, 0.0]]), energy, 2)
    assert recall == 0.5 and retained == pytest.approx(6 / 7)


def test_the_oracle_recalls_everything_and_random_about_half(model: Any, cache: Any) -> None:
    rows = {}
    for selector in ("oracle", "random", "static"):
        plan = train_plan(model, settings(selector=selector), text(), IDENTITY, cache, {})
        rows[selector] = selection_figures(model, plan, windows(2, 128))
    assert all(row["recall_at_k"] == pytest.approx(1) for row in rows["oracle"])
    assert all(0.4 < row["recall_at_k"] < 0.6 for row in rows["random"])
    similar = replace(plan, settings=replace(plan.settings, selector="oracle", blocks="similar"))
    assert all(
        row["recall_at_k"] == pytest.approx(1)
        for row in selection_figures(model, similar, windows(2, 140))
    )
    assert all(row["retained_energy"] > 0.8 and row["kept"] == 80 for row in rows["static"])
    with pytest.raises(ValueError, match="fewer than two blocks"):
        selection_figures(model, plan, windows(1, 20))
