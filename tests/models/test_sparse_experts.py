"""Sparse prefill of mixtures of experts against plain loops over experts and blocks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from expert_loops import (
    CHOSEN,
    CLOSE,
    EXPERTS,
    WIDTH,
    expert_plan,
    neurons,
    slow_forward,
    slow_logits,
    tiny_mixture,
)
from tiny_plans import BLOCK, plan_settings, prompt, tiny_model
from torch import Tensor

from ffbench.methods.plan import PlanError, SparsePlan
from ffbench.models.experts import SPARSE_MIXTURES
from ffbench.models.shapes import random_plan
from ffbench.models.sparse_prefill import sparse_prefill


@pytest.fixture(scope="module", params=SPARSE_MIXTURES)
def model(request: pytest.FixtureRequest) -> Any:
    return tiny_mixture(request.param)


@pytest.mark.parametrize("by_blocks", [False, True])
def test_density_one_is_the_dense_model(model: Any, by_blocks: bool) -> None:
    ids = prompt(150)
    plan = expert_plan(model, sparsity=0.0)
    dense = model(ids).logits
    with sparse_prefill(model, plan) as prefill:
        prefill.chosen = [] if by_blocks else None
        logits = model(ids).logits
    torch.testing.assert_close(logits, dense, **CLOSE)
    assert prefill.density == 1.0 and bool(prefill.chosen) is by_blocks
    assert prefill.total == 2 * CHOSEN * neurons(model) * 150
    assert torch.equal(model(ids).logits, dense)


@pytest.mark.parametrize("compensator", ["none", "bias"])
@pytest.mark.parametrize("tokens", [40, 150, 233])
def test_sparse_prefill_equals_plain_loops(model: Any, compensator: str, tokens: int) -> None:
    ids = prompt(tokens)
    plan = expert_plan(model, compensator=compensator)
    dense = model(ids).logits
    with sparse_prefill(model, plan, "reference") as prefill:
        logits = model(ids).logits
    torch.testing.assert_close(logits, slow_logits(model, plan, ids), **CLOSE)
    assert not torch.allclose(logits[0, BLOCK:-BLOCK], dense[0, BLOCK:-BLOCK], rtol=0.01, atol=0.01)
    assert prefill.density == pytest.approx(1 - 0.5 * (tokens - 2 * BLOCK) / tokens)


def test_prompts_of_a_padded_batch_are_as_each_alone(model: Any) -> None:
    plan, lengths = expert_plan(model), (150, 97)
    alone = [prompt(length, seed) for seed, length in enumerate(lengths)]
    ids, mask = torch.zeros(2, 150, dtype=torch.int64), torch.zeros(2, 150, dtype=torch.int64)
    for row, one in enumerate(alone):
        ids[row, 150 - one.shape[1] :], mask[row, 150 - one.shape[1] :] = one[0], 1
    with sparse_prefill(model, plan) as prefill:
        batch = model(ids, attention_mask=mask).logits
        used = prefill.used
        for row, one in enumerate(alone):
            logits = model(one).logits[0]
            torch.testing.assert_close(batch[row, -one.shape[1] :], logits, rtol=1e-3, atol=1e-4)
    assert prefill.used == 2 * used


def routed_to(counts: list[int], tokens: int) -> Tensor:
    """A choice [tokens, 1] that sends so many tokens, spread over the prompt, to each expert; the
    rest goes to the last."""
    order = torch.randperm(tokens, generator=torch.Generator().manual_seed(0))
    choice = torch.full((tokens, 1), EXPERTS - 1)
    at = 0
    for expert, count in enumerate(counts):
        choice[order[at : at + count]] = expert
        at += count
    return choice


@pytest.mark.parametrize(
    "counts", [[0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK], [2, 0, 0, 3 * BLOCK - 1]]
)
@pytest.mark.parametrize("ends", [0, BLOCK])
def test_any_number_of_tokens_may_reach_an_expert(model: Any, counts: list[int], ends: int) -> None:
    tokens = 150
    plan = expert_plan(model, compensator="bias", first_dense=ends, last_dense=ends)
    generator = torch.Generator().manual_seed(1)
    x, weights = torch.randn(tokens, WIDTH, generator=generator), torch.rand(tokens, 1)
    choice = routed_to(counts, tokens)
    module = model.model.layers[1].mlp.experts
    slow = slow_forward(model, plan, 1, ends, tokens - ends)(x, choice, weights)
    with sparse_prefill(model, plan, "reference") as prefill:
        prefill.real, prefill.offsets = [slice(0, tokens)], [0]
        torch.testing.assert_close(module(x, choice, weights), slow, rtol=1e-4, atol=1e-4)
    assert prefill.total == neurons(model) * tokens


def test_decoding_is_dense(model: Any) -> None:
    plan, ids = expert_plan(model, sparsity=0.5, first_dense=64, last_dense=64), prompt(100)
    dense = model.generate(ids, max_new_tokens=5, do_sample=False)
    with sparse_prefill(model, plan) as prefill:
        assert torch.equal(model.generate(ids, max_new_tokens=5, do_sample=False), dense)
    assert prefill.density == 1.0  # the whole prompt is in its dense ends
    assert prefill.total == 2 * CHOSEN * neurons(model) * 100


def test_a_plan_of_a_dense_model_does_not_fit(model: Any) -> None:
    dense = tiny_model("llama")
    plan = random_plan(dense, plan_settings())
    with (
        pytest.raises(ValueError, match="the plan has 1 FFNs per layer, the model 8"),
        sparse_prefill(model, plan),
    ):
        pass


def test_a_plan_whose_experts_do_not_fill_its_layers_is_refused(model: Any, tmp_path: Path) -> None:
    replace(expert_plan(model), experts=5).save(tmp_path)
    with pytest.raises(PlanError, match="16 FFNs are not layers of 5 experts"):
        SparsePlan.load(tmp_path)
