"""Tiny mixtures of experts, and their sparse prefill by plain loops over experts and blocks."""

from dataclasses import replace
from typing import Any

import torch
from tiny_plans import BLOCK, plan_settings, tiny_model
from torch import Tensor
from torch.nn.functional import silu

from ffbench.methods.plan import SparsePlan
from ffbench.models.forward import attribute
from ffbench.models.shapes import random_plan

EXPERTS, CHOSEN, WIDTH = 8, 2, 64
RARE = ((0, 0), (1, 5))
# two orders of summation of up to 160 float32 products through two layers
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def tiny_mixture(family: str) -> Any:
    """Two layers of eight experts whose outputs count as much as their inputs; the router seldom
    chooses the first expert of the first layer and the sixth of the second."""
    made = tiny_model(family)
    for layer in made.model.layers:
        layer.mlp.experts.gate_up_proj.mul_(8)
        layer.mlp.experts.down_proj.mul_(8)
    for layer, expert in RARE:
        made.model.layers[layer].mlp.gate.weight[expert] = 0
    return made


def neurons(model: Any) -> int:
    """The neurons f of an expert."""
    return int(model.model.layers[0].mlp.experts.down_proj.shape[2])


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
        dense = replace(plan, layers=[replace(one, kept=len(one.order)) for one in plan.layers])
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
