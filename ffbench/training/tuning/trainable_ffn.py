"""A model whose sparse FFNs can be trained: the plan's own arithmetic, with gradients."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.compensators.surrogate import OutputMap, Surrogate
from ffbench.methods.groups import kept_neurons
from ffbench.methods.plan import LayerPlan, SparsePlan
from ffbench.methods.predictor import Predictor
from ffbench.methods.selectors import SELECTORS, Scene
from ffbench.methods.similar_blocks import CONSECUTIVE, token_order
from ffbench.models.adapters import GatedFFN, gated_ffns

BORDERLINE = 0.2
TEMPERATURE = 0.3


class TrainableFFN:
    """One layer's FFN with a trainable estimate and, where the plan's selector is the predictor, a
    trainable choice.

    The choice of a block's neurons is learned straight through (our design): forward, the best ones
    count in full and the others not at all; backward, each counts by a logistic function of its
    log-score's distance from the last one kept, over TEMPERATURE. Beyond the kept neurons the next
    BORDERLINE share of them is computed for that.
    """

    def __init__(self, ffn: GatedFFN, layer: LayerPlan, plan: SparsePlan) -> None:
        self.ffn, self.plan = ffn, plan
        self.chooses = plan.settings.selector == "trained" and plan.settings.group_size == 1
        start = {name: getattr(layer.surrogate, name) for name in "pvc"}
        if self.chooses:
            start |= {
                "weights": layer.predictor.weights,
                "log_prior": layer.predictor.prior.clamp_min(1e-30).log(),
            }
        if layer.output_map:
            start |= {f"map_{name}": getattr(layer.output_map, name) for name in "pub"}
        self.parameters = {
            name: one.float().clone(memory_format=torch.contiguous_format).requires_grad_()
            for name, one in start.items()
        }
        self.layer = layer
        self.set(self.parameters)
        self.w_down_t = ffn.w_down.T.contiguous()
        self.norms = self.w_down_t.float().norm(dim=1)

    def set(self, parameters: dict[str, Tensor]) -> None:
        """Compute with these from now on; a selector that looks at the estimate sees the same
        one.
        """
        self.parameters = parameters
        self.layer = replace(
            self.layer, surrogate=Surrogate(*(parameters[name].detach() for name in "pvc"))
        )

    def use(self, output_map: OutputMap) -> None:
        """Add this map of the output from now on."""
        self.parameters |= {f"map_{name}": getattr(output_map, name) for name in "pub"}

    def output_map(self) -> OutputMap | None:
        """The map of the output in its present state."""
        if "map_p" not in self.parameters:
            return None
        return OutputMap(*(self.parameters[f"map_{name}"].detach() for name in "pub"))

    def result(self) -> LayerPlan:
        """The layer's plan with what was learned so far."""
        predictor = self.layer.predictor
        if self.chooses:
            weights, log_prior = (
                self.parameters[name].detach() for name in ("weights", "log_prior")
            )
            predictor = Predictor(
                predictor.mean, weights.to(predictor.weights.dtype), log_prior.exp()
            )
        return replace(self.layer, predictor=predictor, output_map=self.output_map())

    def activations(self, x: Tensor) -> Tensor:
        """Exact activations [T, f] of x [T, d]."""
        module: Any = self.ffn.module
        return module.act_fn(module.gate_proj(x)) * module.up_proj(x)

    @torch.no_grad()
    def kept(self, before: Tensor, blocks: Tensor) -> Tensor:
        """Kept neurons [n, K] of blocks [n, B, d] by the plan's selector."""
        settings, module = self.plan.settings, self.ffn.module
        scene = Scene(
            self.layer,
            before,
            blocks,
            self.activations,
            module.act_fn,  # type: ignore[arg-type]
            self.norms,
            settings.seed * 1009 + self.ffn.layer,
        )
        return kept_neurons(
            SELECTORS[settings.selector](scene).float(), self.layer, settings.group_size
        )

    def chosen(self, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Neurons [n, K + borderline] of blocks [n, B, d] by the predictor, and how much each
        counts: 1 or 0.
        """
        layer, (weights, log_prior) = (
            self.layer,
            (self.parameters[name] for name in ("weights", "log_prior")),
        )
        scores = log_prior + layer.predictor.shift(blocks, weights)
        hot, dynamic = layer.order[: layer.hot].expand(len(blocks), -1), layer.kept - layer.hot
        ranked = scores.detach().clone().scatter_(1, hot, torch.inf)
        count = min(layer.kept + round(BORDERLINE * dynamic), scores.shape[1])
        values, index = ranked.topk(count, 1)
        edge = (values[:, layer.kept - 1] + values[:, min(layer.kept, count - 1)]) / 2
        soft = torch.sigmoid(
            (scores.gather(1, index) - edge.nan_to_num(posinf=0.0)[:, None]) / TEMPERATURE
        )
        hard = torch.zeros_like(soft)
        hard[:, : layer.kept] = 1
        through = soft - soft.detach()
        through[:, : layer.hot] = 0
        return index, hard + through

    @torch.no_grad()
    def order(self, x: Tensor) -> Tensor:
        """Order of tokens x [T, d] in which each block's follow one another."""
        if self.plan.settings.blocks == CONSECUTIVE:
            return torch.arange(len(x), device=x.device)
        return token_order(x.float() @ self.parameters["p"].T, self.plan.settings.block_size)

    def forward(self, x: Tensor) -> Tensor:
        """The module's forward for a window x [1, T, d] of whole blocks: the first one dense, the
        others sparse.

        The sparse part is computed in float32, whatever the model's dtype.
        """
        size, module = self.plan.settings.block_size, self.ffn.module
        act: Any = module.act_fn
        first, order = x[0, :size], self.order(x[0, size:])
        given = x[0, size:][order].view(-1, size, x.shape[2])
        blocks, w_down_t = given.float(), self.w_down_t.float()
        p, v, c = (self.parameters[name] for name in "pvc")
        z = blocks @ p.T
        rest = z @ (w_down_t.T @ v).T + w_down_t.T @ c
        if "map_p" in self.parameters:
            map_p, map_u, map_b = (self.parameters[f"map_{name}"] for name in "pub")
            rest = rest + blocks @ map_p.T @ map_u.T + map_b
        if self.chooses:
            index, counts = self.chosen(given)
        else:
            index, counts = self.kept(first.detach(), given.detach()), None
        gate, up = (
            blocks @ w[index].float().transpose(1, 2) for w in (self.ffn.w_gate, self.ffn.w_up)
        )
        left = act(gate) * up - torch.baddbmm(c[index].unsqueeze(1), z, v[index].transpose(1, 2))
        if counts is not None:
            left = left * counts.unsqueeze(1)
        sparse = torch.baddbmm(rest, left, w_down_t[index]).flatten(0, 1)[order.argsort()]
        return torch.cat([type(module).forward(module, first), sparse.to(x.dtype)]).unsqueeze(0)


@contextmanager
def trainable(model: Any, plan: SparsePlan) -> Iterator[list[TrainableFFN]]:
    """The model with trainable sparse FFNs and frozen weights; as before afterwards."""
    ffns = gated_ffns(model)
    layers = [TrainableFFN(ffn, layer, plan) for ffn, layer in zip(ffns, plan.layers, strict=True)]
    frozen = [one for one in model.parameters() if one.requires_grad]
    for one in frozen:
        one.requires_grad_(False)
    try:
        for ffn, layer in zip(ffns, layers, strict=True):
            ffn.module.forward = layer.forward  # type: ignore[method-assign]
        yield layers
    finally:
        for ffn in ffns:
            ffn.module.__dict__.pop("forward", None)
        for one in frozen:
            one.requires_grad_(True)
