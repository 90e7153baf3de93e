"""Mixtures of experts: sparse prefill against plain loops over experts and blocks, plans, and what
is refused."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_plans import plan_settings, prompt
from tiny_stages import FolderCache, built_plan, random_windows
from torch import Tensor
from torch.nn.functional import silu

from ffbench.methods.plan import PlanError, PlanSettings, SparsePlan
from ffbench.methods.plan_card import card_rows, readme
from ffbench.models.adapters import experts_per_layer, gated_ffns
from ffbench.models.checks import check_loaded
from ffbench.models.config_checks import config_problems
from ffbench.models.errors import UnsupportedModelError
from ffbench.models.experts import SPARSE_MIXTURES
from ffbench.models.forward import attribute, check_logits
from ffbench.models.loading import ModelSpec, load_tiny
from ffbench.models.shapes import random_plan
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.training.layer_walk import SINK_TOKENS

EXPERTS, CHOSEN, BLOCK, WIDTH = 8, 2, 16, 64
RARE = ((0, 0), (1, 5))
# two orders of summation of 160 float32 products through two layers
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def model() -> Any:
    """OLMoE with two layers of eight experts, whose outputs count as much as their inputs; the
    router seldom chooses the first expert of the first layer and the sixth of the second."""
    made = load_tiny(ModelSpec("tiny", source="tiny", location="olmoe"))[0]
    for layer in made.model.layers:
        layer.mlp.experts.gate_up_proj.mul_(8)
        layer.mlp.experts.down_proj.mul_(8)
    for layer, expert in RARE:
        made.model.layers[layer].mlp.gate.weight[expert] = 0
    return made


def expert_plan(model: Any, **changes: Any) -> SparsePlan:
    """A random plan whose compensator estimates something if it can."""
    plan = random_plan(model, plan_settings(**changes))
    for number, layer in enumerate(plan.layers):
        state: Any = layer.compensation
        if plan.settings.compensator.compensates:
            generator = torch.Generator().manual_seed(number)
            mean = torch.rand(len(layer.order), generator=generator)
            layer.compensation = replace(state, mean=mean)
    return plan


def block_output(model: Any, plan: SparsePlan, number: int, x: Tensor) -> Tensor:
    """The FFN `number` of one block x [B, d], of which all but the best neurons are replaced by
    their mean."""
    layer, f = plan.layers[number], len(plan.layers[number].order)
    module = model.model.layers[number // EXPERTS].mlp.experts
    gate, up = module.gate_up_proj[number % EXPERTS].split(f)
    activations = silu(x @ gate.T) * (x @ up.T)
    shift = (x.mean(0) - layer.predictor.mean) @ layer.predictor.weights.float().T
    best = (layer.predictor.prior * shift.clamp(-4, 4).exp()).topk(layer.kept).indices
    mean = getattr(layer.compensation, "mean", torch.zeros(f))
    seen = torch.stack(
        [activations[:, j] if j in best else mean[j].expand(len(x)) for j in range(f)], 1
    )
    return seen @ module.down_proj[number % EXPERTS].T


def slow_experts(
    model: Any, plan: SparsePlan, number: int, first: int, last: int, x: Tensor, choice: Tensor
) -> list[Tensor]:
    """Output [n, d] of each expert of layer `number` for its tokens of x [T, d], by loops; tokens
    before `first` and from `last` on are dense."""
    outputs = []
    for expert in range(EXPERTS):
        dense = replace(plan, layers=[replace(one, kept=160) for one in plan.layers])
        rows: list[Tensor] = []
        block: list[Tensor] = []
        for token in range(len(x)):
            if expert not in choice[token].tolist():
                continue
            if first <= token < last:
                block.append(x[token])
            else:
                rows += flushed(model, plan, number * EXPERTS + expert, block)
                rows.append(
                    block_output(model, dense, number * EXPERTS + expert, x[token : token + 1])[0]
                )
            if len(block) == BLOCK:
                rows += flushed(model, plan, number * EXPERTS + expert, block)
        rows += flushed(model, plan, number * EXPERTS + expert, block)
        outputs.append(torch.stack(rows) if rows else x[:0])
    return outputs


def flushed(model: Any, plan: SparsePlan, ffn: int, block: list[Tensor]) -> list[Tensor]:
    """The rows of a block, which is emptied."""
    if not block:
        return []
    rows = list(block_output(model, plan, ffn, torch.stack(block)))
    block.clear()
    return rows


def slow_forward(model: Any, plan: SparsePlan, number: int, first: int, last: int) -> Any:
    """The forward of a layer's experts by `slow_experts`."""

    def forward(x: Tensor, choice: Tensor, weights: Tensor) -> Tensor:
        outputs = [list(o) for o in slow_experts(model, plan, number, first, last, x, choice)]
        total = torch.zeros_like(x)
        for token in range(len(x)):
            for place, expert in enumerate(choice[token].tolist()):
                total[token] += weights[token, place] * outputs[expert].pop(0)
        return total

    return forward


def slow_logits(model: Any, plan: SparsePlan, ids: Tensor) -> Tensor:
    """Logits of one prompt by loops."""
    first, last = plan.settings.first_dense, ids.shape[1] - plan.settings.last_dense
    modules = [layer.mlp.experts for layer in model.model.layers]
    with (
        attribute(modules[0], "forward", slow_forward(model, plan, 0, first, last)),
        attribute(modules[1], "forward", slow_forward(model, plan, 1, first, last)),
    ):
        logits: Tensor = model(ids).logits
    return logits


def test_the_checks_pass_and_every_expert_is_an_ffn(model: Any) -> None:
    assert config_problems(model.config.to_dict(), SPARSE_MIXTURES) == []
    check_loaded(model, range(259))
    check_logits(model)
    ffns = gated_ffns(model)
    assert [(ffn.layer, ffn.expert) for ffn in ffns] == [
        (layer, expert) for layer in range(2) for expert in range(EXPERTS)
    ]
    assert experts_per_layer(ffns) == EXPERTS and ffns[9].name == "layer 1, expert 1"
    stored = model.model.layers[1].mlp.experts
    assert ffns[9].w_up.data_ptr() == stored.gate_up_proj[1, 160:].data_ptr()
    assert ffns[9].w_down.data_ptr() == stored.down_proj[1].data_ptr()


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
    assert prefill.total == 2 * CHOSEN * 160 * 150
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
    assert prefill.total == 160 * tokens


def test_decoding_is_dense(model: Any) -> None:
    plan, ids = expert_plan(model, sparsity=0.5, first_dense=64, last_dense=64), prompt(100)
    dense = model.generate(ids, max_new_tokens=5, do_sample=False)
    with sparse_prefill(model, plan) as prefill:
        assert torch.equal(model.generate(ids, max_new_tokens=5, do_sample=False), dense)
    assert prefill.density == 1.0  # the whole prompt is in its dense ends
    assert prefill.total == 2 * CHOSEN * 160 * 100


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
    few = calibration_counts(model) < WIDTH
    assert few.nonzero().flatten().tolist() == [layer * EXPERTS + one for layer, one in RARE]
    assert [layer.kept for layer in plan.layers] == [160 if one else 80 for one in few]
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
    assert f"80 in {16 - len(names)} experts, 160 in {len(names)} experts" in readme(back)


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


def test_a_plan_of_a_dense_model_does_not_fit(model: Any) -> None:
    dense = load_tiny(ModelSpec("tiny", source="tiny", location="llama"))[0]
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


def broken(part: str) -> Any:
    """A mixture with something that experts here do not have."""
    made = load_tiny(ModelSpec("tiny", source="tiny", location="olmoe"))[0]
    mlp = made.model.layers[1].mlp
    if part == "shared":
        mlp.shared_expert = torch.nn.Linear(2, 2)
    elif part == "bias":
        mlp.experts.down_proj_bias = torch.nn.Parameter(torch.zeros(8, 64))
    elif part == "rows":
        mlp.experts.gate_up_proj = torch.nn.Parameter(torch.zeros(8, 300, 64))
    elif part == "dtype":
        mlp.experts.gate_up_proj = torch.nn.Parameter(
            torch.zeros(8, 320, 64, dtype=torch.int8), requires_grad=False
        )
    else:
        made.model.layers[1].mlp = load_tiny(ModelSpec("t", "tiny", "llama"))[0].model.layers[0].mlp
    return made


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("shared", "layer 1: its mixture of experts has experts, gate, shared_expert"),
        ("bias", "layer 1: its experts hold down_proj, down_proj_bias, gate_up_proj"),
        ("rows", r"gate_up_proj is \(8, 300, 64\); 8 experts of 160 neurons on 64 inputs"),
        ("dtype", r"quantised weights \(torch.int8\)"),
        ("dense layer", r"different numbers of FFNs: \[8, 1\]"),
    ],
)
def test_other_mixtures_are_refused(part: str, message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        gated_ffns(broken(part))
