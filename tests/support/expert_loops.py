"""Tiny mixtures of experts, and their sparse prefill by plain loops over FFNs and blocks."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby
from typing import Any

import torch
from tiny_plans import BLOCK, plan_settings
from torch import Tensor
from torch.nn.functional import silu

from ffbench.methods.plan import SparsePlan
from ffbench.models.experts import SPARSE_MIXTURES
from ffbench.models.forward import attribute
from ffbench.models.random_models import random_plan
from ffbench.models.tiny import tiny_model

EXPERTS, CHOSEN, WIDTH = 8, 2, 64
# two orders of summation of up to 192 float32 products through up to three layers
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
# every family, and each way in which one says that a layer has no experts
DENSE_FIRST = {"mlp_only_layers": [0], "num_hidden_layers": 3}
EACH_SECOND = {"decoder_sparse_step": 2, "num_hidden_layers": 4}
MIXTURES: list[tuple[str, dict[str, Any]]] = [
    *((family, {}) for family in SPARSE_MIXTURES),
    ("qwen3_moe", DENSE_FIRST),
    ("qwen2_moe", EACH_SECOND),
]
NAMES = [" ".join([family, *changes]) for family, changes in MIXTURES]


def tiny_mixture(family: str, **changes: Any) -> Any:
    """A tiny model with two layers of eight experts, whose FFNs' outputs count as much as their
    inputs. The router seldom chooses the first expert of the first such layer and the sixth of the
    last. changes: of the configuration."""
    made = tiny_model(family, **changes).eval().requires_grad_(False)
    for layer in made.model.layers:
        for name, weight in layer.mlp.named_parameters():
            if name not in ("gate.weight", "shared_expert_gate.weight"):
                weight.mul_(8)
    for layer, expert in rare(made):
        rows = made.model.layers[layer].mlp.gate.weight
        others = [number for number in range(EXPERTS) if number != expert]
        rows[expert] = rows[others].mean(0)  # seldom one of the two largest
    return made


def mixture_layers(model: Any) -> list[int]:
    """Numbers of the layers with experts."""
    return [i for i, layer in enumerate(model.model.layers) if hasattr(layer.mlp, "experts")]


def rare(model: Any) -> list[tuple[int, int]]:
    """Layer and number of the experts that few tokens reach."""
    layers = mixture_layers(model)
    return [(layers[0], 0), (layers[-1], 5)]


def neurons(model: Any) -> int:
    """The neurons f of a routed expert."""
    return int(model.model.layers[-1].mlp.experts.down_proj.shape[2])


def shared_of(mlp: Any) -> Any:
    """The shared expert of a layer's mixture; None if it has none."""
    return getattr(mlp, "shared_expert", None) or getattr(mlp, "shared_experts", None)


def matrices(mlp: Any, expert: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Gate, up [f, d] and down [d, f] of an FFN, or of a routed expert of a mixture."""
    if expert is None:
        return mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight
    gate, up = mlp.experts.gate_up_proj[expert].chunk(2)
    return gate, up, mlp.experts.down_proj[expert]


def ffns_of_layers(model: Any) -> list[tuple[int, Any, int | None]]:
    """Every FFN in a plan's order: layer, module, and number if it is a routed expert."""
    found: list[tuple[int, Any, int | None]] = []
    for number, layer in enumerate(model.model.layers):
        if not hasattr(layer.mlp, "experts"):
            found.append((number, layer.mlp, None))
            continue
        found += [(number, layer.mlp, expert) for expert in range(EXPERTS)]
        if shared_of(layer.mlp) is not None:
            found.append((number, shared_of(layer.mlp), None))
    return found


def passed(model: Any) -> int:
    """Neurons of all FFNs that a token passes."""
    ffns = [(matrices(mlp, expert)[0], expert) for _, mlp, expert in ffns_of_layers(model)]
    whole = sum(len(gate) for gate, expert in ffns if expert is None)
    return whole + CHOSEN * neurons(model) * len(mixture_layers(model))


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
    _, mlp, expert = ffns_of_layers(model)[number]
    gate, up, down = matrices(mlp, expert)
    activations = silu(x @ gate.T) * (x @ up.T)
    shift = (x.mean(0) - layer.predictor.mean) @ layer.predictor.weights.float().T
    best = (layer.predictor.prior * shift.clamp(-4, 4).exp()).topk(layer.kept).indices
    mean = getattr(layer.compensation, "mean", torch.zeros(f))
    seen = torch.stack(
        [activations[:, j] if j in best else mean[j].expand(len(x)) for j in range(f)], 1
    )
    return seen @ down.T


def slow_ffn(
    model: Any, plan: SparsePlan, number: int, first: int, last: int, x: Tensor, tokens: list[int]
) -> Tensor:
    """Output [n, d] of the FFN `number` for some tokens of x [T, d], by loops; tokens before
    `first` and from `last` on are dense."""
    dense = replace(plan, layers=[replace(one, kept=len(one.order)) for one in plan.layers])
    rows: list[Tensor] = []
    block: list[Tensor] = []
    for token in tokens:
        if first <= token < last:
            block.append(x[token])
        else:
            rows += flushed(model, plan, number, block)
            rows.append(block_output(model, dense, number, x[token : token + 1])[0])
        if len(block) == BLOCK:
            rows += flushed(model, plan, number, block)
    rows += flushed(model, plan, number, block)
    return torch.stack(rows) if rows else x[:0]


def flushed(model: Any, plan: SparsePlan, ffn: int, block: list[Tensor]) -> list[Tensor]:
    """The rows of a block, which is emptied."""
    if not block:
        return []
    rows = list(block_output(model, plan, ffn, torch.stack(block)))
    block.clear()
    return rows


def slow_forward(
    model: Any, plan: SparsePlan, numbers: list[int], first: int, last: int
) -> Callable[..., Tensor]:
    """The forward of a layer's experts, which are the FFNs `numbers`, by `slow_ffn`."""

    def forward(x: Tensor, choice: Tensor, weights: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for expert, number in enumerate(numbers):
            tokens = [t for t in range(len(x)) if expert in choice[t].tolist()]
            output = slow_ffn(model, plan, number, first, last, x, tokens)
            for token, row in zip(tokens, output, strict=True):
                total[token] += weights[token, choice[token].tolist().index(expert)] * row
        return total

    return forward


def slow_whole_forward(
    model: Any, plan: SparsePlan, number: int, first: int, last: int
) -> Callable[[Tensor], Tensor]:
    """The forward of an FFN that every token of one prompt passes, by `slow_ffn`."""

    def forward(x: Tensor) -> Tensor:
        rows = x.reshape(-1, WIDTH)
        tokens = list(range(len(rows)))
        return slow_ffn(model, plan, number, first, last, rows, tokens).view_as(x)

    return forward


def slow_logits(model: Any, plan: SparsePlan, ids: Tensor) -> Tensor:
    """Logits of one prompt by loops."""
    first, last = plan.settings.first_dense, ids.shape[1] - plan.settings.last_dense
    ffns = list(enumerate(ffns_of_layers(model)))
    with ExitStack() as stack:
        for (_, routed), group in groupby(ffns, key=lambda one: (one[1][0], one[1][2] is not None)):
            own = list(group)
            numbers, module = [number for number, _ in own], own[0][1][1]
            if routed:
                forward = slow_forward(model, plan, numbers, first, last)
                stack.enter_context(attribute(module.experts, "forward", forward))
            else:
                whole = slow_whole_forward(model, plan, numbers[0], first, last)
                stack.enter_context(attribute(module, "forward", whole))
        logits: Tensor = model(ids).logits
    return logits
