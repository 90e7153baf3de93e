"""Sparse prefill against a masked dense form: blocks, generation, nesting, restoring."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_plans import BLOCK, DENSE_FAMILIES, prompt, random_tiny_plan, tiny_model
from torch import Tensor

from ffbench.methods.plan import SparsePlan
from ffbench.methods.similar_blocks import token_order
from ffbench.models.adapters import gated_ffns
from ffbench.models.sparse_prefill import sparse_prefill


def plan_for(model: Any, **changes: Any) -> SparsePlan:
    return random_tiny_plan(model, **changes)


@pytest.fixture(scope="module", params=DENSE_FAMILIES)
def model(request: pytest.FixtureRequest) -> Any:
    return tiny_model(request.param)


def blocks_of(plan: SparsePlan, tokens: int) -> list[Tensor]:
    """Rows of each sparse block: cut at multiples of the block size, counted from token 0."""
    s = plan.settings
    rows = torch.arange(s.first_dense, max(tokens - s.last_dense, s.first_dense))
    return [rows[rows // s.block_size == i] for i in (rows // s.block_size).unique()]


def masked_dense(model: Any, plan: SparsePlan, ids: Tensor) -> Tensor:
    """Logits of the dense model with the skipped neurons' activations replaced by the estimate,
    block by block."""
    settings, handles = plan.settings, []
    for ffn, layer in zip(gated_ffns(model), plan.layers, strict=True):
        state: dict[str, Tensor] = {}

        def look(module: Any, args: tuple, state: dict = state) -> None:
            state["x"] = args[0][0]

        def mask(module: Any, args: tuple, state: dict = state, layer: Any = layer) -> tuple:
            a, x = args[0].clone(), state["x"]
            blocks, size = blocks_of(plan, len(x)), settings.group_size
            if settings.blocks == "similar" and blocks:
                rows = torch.cat(blocks)
                order = token_order(x[rows] @ layer.compensation.projection.T, settings.block_size)
                blocks = list(rows[order].split(settings.block_size))
            for rows in blocks:
                scores = layer.predictor.scores(x[rows].unsqueeze(0))[0]
                ranked = scores.view(-1, size).sum(1).argsort(descending=True)[layer.kept // size :]
                skipped = (ranked[:, None] * size + torch.arange(size)).flatten()
                a[0, rows[:, None], skipped] = layer.compensation.estimate(x[rows])[:, skipped]
            return (a,)

        handles += [
            ffn.module.register_forward_pre_hook(look),
            ffn.module.down_proj.register_forward_pre_hook(mask),
        ]
    try:
        return model(ids).logits
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("compensator", ["none", "bias", "surrogate"])
@pytest.mark.parametrize("tokens", [70, 64, 33])
def test_gathered_equals_masked_dense(model: Any, tokens: int, compensator: str) -> None:
    plan, ids = plan_for(model, compensator=compensator), prompt(tokens)
    with sparse_prefill(model, plan, "torch") as usage:
        logits = model(ids).logits
    expected = masked_dense(model, plan, ids)
    torch.testing.assert_close(logits, expected, atol=2e-5, rtol=1e-4)
    assert (expected - model(ids).logits).abs().max() > 1e-3 and usage.density < 1


@pytest.mark.parametrize("tokens", [30, 64, 70, 100])
@pytest.mark.parametrize("last_dense", [BLOCK, 0])
def test_blocks_of_similar_tokens(model: Any, tokens: int, last_dense: int) -> None:
    plan, ids = (
        plan_for(model, compensator="surrogate", blocks="similar", last_dense=last_dense),
        prompt(tokens),
    )
    logits: dict[str, Tensor] = {}
    for blocks in ("similar", "consecutive"):
        one = replace(plan, settings=replace(plan.settings, blocks=blocks))
        with sparse_prefill(model, one, "torch"):
            logits[blocks] = model(ids).logits
        torch.testing.assert_close(
            logits[blocks], masked_dense(model, one, ids), atol=2e-5, rtol=1e-4
        )
    assert torch.equal(logits["similar"], logits["consecutive"]) == (tokens == 30)


def test_blocks_of_similar_tokens_need_a_surrogate(model: Any) -> None:
    with (
        pytest.raises(ValueError, match="compensator 'none' does not have"),
        sparse_prefill(model, plan_for(model, blocks="similar"), "torch"),
    ):
        pass
    with (
        pytest.raises(ValueError, match="needs blocks in the order of the text"),
        sparse_prefill(
            model,
            plan_for(
                model,
                blocks="similar",
                compensator="surrogate",
                selector={"name": "griffin", "block": "previous"},
            ),
            "torch",
        ),
    ):
        pass
    assert all("forward" not in vars(ffn.module) for ffn in gated_ffns(model))


@pytest.mark.parametrize("group", [8, 16, 32])
def test_whole_groups_are_kept(model: Any, group: int) -> None:
    plan, ids = plan_for(model, compensator="surrogate", group_size=group), prompt(70)
    assert all(layer.kept % group == 0 for layer in plan.layers)
    with sparse_prefill(model, plan, "torch"):
        logits = model(ids).logits
    torch.testing.assert_close(logits, masked_dense(model, plan, ids), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("first", "last"), [(5, 0), (20, 7), (1, 30), (33, 33), (0, 1)])
def test_dense_ends_are_counted_in_tokens(model: Any, first: int, last: int) -> None:
    plan, ids = (
        plan_for(model, compensator="surrogate", first_dense=first, last_dense=last),
        prompt(83),
    )
    with sparse_prefill(model, plan, "torch") as usage:
        logits = model(ids).logits
    torch.testing.assert_close(logits, masked_dense(model, plan, ids), atol=2e-5, rtol=1e-4)
    assert usage.density == pytest.approx(1 - 0.5 * (83 - first - last) / 83, abs=1e-3)


def test_every_block_can_be_sparse_with_a_short_last_one(model: Any) -> None:
    plan, ids = plan_for(model, first_dense=0, last_dense=0), prompt(41)
    with sparse_prefill(model, plan, "torch") as usage:
        logits = model(ids).logits
    torch.testing.assert_close(logits, masked_dense(model, plan, ids), atol=2e-5, rtol=1e-4)
    assert usage.density == pytest.approx(0.5)


@pytest.mark.parametrize("tokens", [1, 5, BLOCK, BLOCK + 1, 2 * BLOCK])
def test_prompts_without_a_middle_block_stay_dense(model: Any, tokens: int) -> None:
    with sparse_prefill(model, plan_for(model), "torch") as usage:
        logits = model(prompt(tokens)).logits
    torch.testing.assert_close(logits, model(prompt(tokens)).logits, atol=1e-5, rtol=1e-5)
    assert usage.density == 1


def test_generate_is_a_sparse_prompt_and_dense_decoding(model: Any) -> None:
    plan, ids = plan_for(model), prompt(60)
    with sparse_prefill(model, plan, "torch"):
        logits = model.generate(ids, max_new_tokens=5, do_sample=False)[0, 60:]
        cache = model(ids, use_cache=True)
    expected, step, past = [], cache.logits[0, -1].argmax(), cache.past_key_values
    for _ in range(5):
        expected.append(int(step))
        step = model(step.view(1, 1), past_key_values=past, use_cache=True).logits[0, -1].argmax()
    assert logits.tolist() == expected[: len(logits)] and (len(logits) == 5 or logits[-1] == 2)


@pytest.mark.parametrize("hot", [0.0, 0.5, 1.0])
def test_the_model_is_as_before_after_an_error(model: Any, hot: float) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(KeyError), sparse_prefill(model, plan_for(model, hot_fraction=hot), "torch"):
        raise KeyError
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any("forward" in ffn.module.__dict__ for ffn in gated_ffns(model))
    with sparse_prefill(model, plan_for(model, hot_fraction=hot), "torch"):
        pass


def test_nesting_and_a_wrong_plan_are_refused(model: Any) -> None:
    plan = plan_for(model)
    with (
        sparse_prefill(model, plan, "torch"),
        pytest.raises(RuntimeError, match="already active"),
        sparse_prefill(model, plan, "torch"),
    ):
        pass
    short = SparsePlan(plan.settings, plan.fingerprint, plan.layers[:1])
    with (
        pytest.raises(
            ValueError, match="FFN 1 of the plan is missing, of the model layer 1 of 160"
        ),
        sparse_prefill(model, short, "torch"),
    ):
        pass


def test_zero_sparsity_equals_dense(model: Any) -> None:
    plan = plan_for(model, sparsity=0.0, compensator="surrogate", first_dense=0, last_dense=0)
    with sparse_prefill(model, plan, "torch"):
        logits = model(prompt(70)).logits
    torch.testing.assert_close(logits, model(prompt(70)).logits, atol=2e-5, rtol=1e-4)


def test_an_oracle_that_keeps_everything_equals_dense(model: Any) -> None:
    plan = plan_for(model, selector="oracle", sparsity=0.0)
    with sparse_prefill(model, plan, "torch"):
        logits = model(prompt(70)).logits
    torch.testing.assert_close(logits, model(prompt(70)).logits, atol=2e-5, rtol=1e-4)


def test_the_hot_set_changes_nothing_but_the_arithmetic(model: Any) -> None:
    ids = prompt(70)
    outcomes = []
    for hot in (0.0, 1.0):
        plan = plan_for(model, selector="static", hot_fraction=hot, compensator="surrogate")
        for layer in plan.layers:
            layer.order = layer.predictor.prior.argsort(descending=True)
        with sparse_prefill(model, plan, "torch"):
            outcomes.append(model(ids).logits)
    torch.testing.assert_close(outcomes[0], outcomes[1], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("dense_from", [0, 20, BLOCK * 2, 37, 70, 99])
def test_all_is_dense_from_the_given_token_on(model: Any, dense_from: int) -> None:
    """Against the same tokens as a prompt whose last block is not dense, the rest run dense on its
    cache."""
    ids = prompt(70)
    plan = plan_for(model, compensator="surrogate")
    whole = plan_for(model, compensator="surrogate", last_dense=0)
    with sparse_prefill(model, plan, "torch") as state:
        state.dense_from = [dense_from]
        logits = model(ids).logits
    with sparse_prefill(model, whole, "torch") as state:
        first = model(ids[:, :dense_from], use_cache=True) if dense_from else None
        state.paused = True
        past = first.past_key_values if first else None
        rest = (
            model(ids[:, dense_from:], past_key_values=past).logits
            if dense_from < 70
            else logits[:, :0]
        )
    expected = torch.cat([first.logits, rest], 1) if first else rest
    torch.testing.assert_close(logits, expected, atol=2e-5, rtol=1e-4)
    used = min(dense_from, 70) - BLOCK
    assert state.density == pytest.approx(
        1 - 0.5 * max(used, 0) / min(dense_from, 70) if dense_from else 1
    )
