"""Sparse prefill of mixtures of experts against plain loops over experts and blocks."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from expert_loops import (
    CLOSE,
    EXPERTS,
    MIXTURES,
    NAMES,
    WIDTH,
    expert_plan,
    ffns_of_layers,
    mixture_layers,
    neurons,
    passed,
    slow_forward,
    slow_logits,
    tiny_mixture,
)
from tiny_plans import BLOCK, plan_settings, prompt, tiny_model
from torch import Tensor

from ffbench.methods.flops import flops_of
from ffbench.methods.plan import PlanError, SparsePlan
from ffbench.models.random_models import random_plan
from ffbench.models.sparse_prefill import sparse_prefill


@pytest.fixture(scope="module", params=MIXTURES, ids=NAMES)
def model(request: pytest.FixtureRequest) -> Any:
    family, changes = request.param
    return tiny_mixture(family, **changes)


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
    assert prefill.total == passed(model) * 150
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
    last = mixture_layers(model)[-1]
    module = model.model.layers[last].mlp.experts
    ffns = enumerate(ffns_of_layers(model))
    numbers = [i for i, (layer, _, expert) in ffns if layer == last and expert is not None]
    slow = slow_forward(model, plan, numbers, ends, tokens - ends)(x, choice, weights)
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
    assert prefill.total == passed(model) * 100


def test_a_plan_of_a_dense_model_does_not_fit(model: Any) -> None:
    dense = tiny_model("llama")
    plan = random_plan(dense, plan_settings())
    with (
        pytest.raises(ValueError, match=r"FFN \d+ of the plan is .*, of the model layer"),
        sparse_prefill(model, plan),
    ):
        pass


def test_a_plan_of_other_dense_layers_does_not_fit() -> None:
    plan = expert_plan(tiny_mixture("qwen3_moe", mlp_only_layers=[0]))
    other = tiny_mixture("qwen3_moe", mlp_only_layers=[1])
    message = "FFN 0 of the plan is layer 0 of 160 neurons, of the model layer 0, expert 0 of 96"
    with pytest.raises(ValueError, match=message), sparse_prefill(other, plan):
        pass


def test_a_plan_with_two_entries_for_one_ffn_is_refused(tmp_path: Path) -> None:
    plan = expert_plan(tiny_mixture("qwen2_moe"))
    replace(plan, places=[plan.places[0], *plan.places[:-1]]).save(tmp_path)
    with pytest.raises(PlanError, match="two entries are of one FFN"):
        SparsePlan.load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"expert": -1}, {"layer": "0"}, {"share": 0}, {"share": 1.5}, {"shared": True}, {"shared": 1}],
)
def test_a_plan_with_an_entry_of_no_ffn_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    expert_plan(tiny_mixture("olmoe")).save(tmp_path)
    header = json.loads((tmp_path / "plan.json").read_text())
    header["layers"][3].update(change)
    (tmp_path / "plan.json").write_text(json.dumps(header))
    with pytest.raises(PlanError, match="cannot be read .*; create the plan again"):
        SparsePlan.load(tmp_path)


def test_a_plan_that_says_only_how_many_experts_a_layer_has_is_read(tmp_path: Path) -> None:
    model = tiny_mixture("olmoe")
    expert_plan(model).save(tmp_path)
    header = json.loads((tmp_path / "plan.json").read_text())
    kept = [{"kept": entry["kept"], "hot": entry["hot"]} for entry in header["layers"]]
    (tmp_path / "plan.json").write_text(json.dumps(header | {"experts": EXPERTS, "layers": kept}))
    with sparse_prefill(model, SparsePlan.load(tmp_path)) as prefill:
        model(prompt(150))
    assert prefill.density < 1
    (tmp_path / "plan.json").write_text(json.dumps(header | {"experts": 0, "layers": kept}))
    with pytest.raises(PlanError, match="cannot be read"):
        SparsePlan.load(tmp_path)


def test_flops_count_an_ffn_by_the_tokens_that_reach_it(model: Any) -> None:
    plan = expert_plan(model)
    assert flops_of(plan).ideal == pytest.approx(0.5)
    routed = next(i for i, (_, _, expert) in enumerate(ffns_of_layers(model)) if expert == 3)
    layers = list(plan.layers)
    layers[routed] = replace(layers[routed], kept=neurons(model))
    more = flops_of(replace(plan, layers=layers)).ideal - 0.5
    # the other half of an expert that a quarter of the tokens reach
    assert more == pytest.approx(0.5 * neurons(model) / 4 / passed(model))
    whole = [replace(layer, kept=len(layer.order)) for layer in plan.layers]
    assert flops_of(replace(plan, layers=whole)).ratio == 1.0
