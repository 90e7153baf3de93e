"""A model whose sparse FFNs can be trained: the plan's own arithmetic, with gradients."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.compensators import CompensatorState, OutputMap
from ffbench.methods.compensators.affine import AffineState
from ffbench.methods.float32_products import linear_by_block
from ffbench.methods.plan import LayerPlan, SparsePlan
from ffbench.methods.selectors import Selector
from ffbench.models.adapters import GatedFFN, gated_ffns
from ffbench.models.block_ffn import BlockChooser
from ffbench.models.down_rows import stored_by_neuron
from ffbench.models.forward import attribute
from ffbench.training.backward import frozen_weights, recomputed_layers

BORDERLINE = 0.2  # share of the kept neurons beyond the last one that gradients may bring in
TEMPERATURE = 0.3  # of the logistic, in units of the log-score
MAP = "output_map."


class TrainableFFN:
    """One layer's FFN with a trainable estimate and, if the selector can learn, a trainable choice.

    The choice of a block's neurons is learned straight through (our design): forward, the best ones
    count in full and the others not at all; backward, each counts by a logistic function of its
    log-score's distance from the last one kept, over TEMPERATURE. Beyond the kept neurons the next
    BORDERLINE share of them is computed for that.

    learns_choice: False keeps the plan's choice; the selector's tensors then have no float32
    copies, and no borderline neurons are computed.

    Raises ValueError for a compensator whose estimate is not affine, or a token rule.
    """

    def __init__(
        self, ffn: GatedFFN, layer: LayerPlan, plan: SparsePlan, learns_choice: bool = True
    ) -> None:
        settings, selector = plan.settings, plan.settings.selector
        if not isinstance(layer.compensation, AffineState) or not isinstance(selector, Selector):
            raise ValueError(
                f"training: compensator {settings.compensator.name!r} with selector "
                f"{selector.name!r} cannot be trained through the model"
            )
        self.ffn, self.settings, self.selector = ffn, settings, selector
        self.dense_forward = ffn.module.forward
        self.layer = layer.on(ffn.w_gate.device)
        self.end: int | None = None  # first dense row after the context; None: there is none
        start = self.layer.compensation.tensors()
        learnable = settings.group_size == 1 and settings.scheduler.per_block is None
        self.learns = learns_choice and learnable and bool(selector.learned(self.layer))
        if self.learns:
            start |= selector.learned(self.layer)
        self.parameters = {
            name: value.float().clone(memory_format=torch.contiguous_format).requires_grad_()
            for name, value in start.items()
        }
        self.set(self.parameters)
        self.w_down_t = ffn.w_down.T.contiguous()
        self.norms = self.w_down_t.float().norm(dim=1)

    def set(self, parameters: dict[str, Tensor]) -> None:
        """Compute with these from now on; a selector that looks at the estimate sees the same."""
        self.parameters = parameters
        estimate: dict[str, Any] = {n: parameters[n].detach() for n in AffineState.axes}
        state = replace(self.layer.compensation, **estimate)
        self.layer = replace(self.layer, compensation=state)
        self.chooser = BlockChooser(self.ffn, self.layer, self.settings)

    def output_map(self, detached: bool = True) -> OutputMap | None:
        """The map of the output in its present state."""
        if f"{MAP}bias" not in self.parameters:
            return None
        values = {name: self.parameters[f"{MAP}{name}"] for name in OutputMap.axes}
        return OutputMap(**{n: v.detach() if detached else v for n, v in values.items()})

    def result(self) -> LayerPlan:
        """The layer's plan with what was learned so far."""
        state: CompensatorState = self.layer.compensation.with_output_map(self.output_map())
        layer = replace(self.layer, compensation=state)
        return self.selector.with_learned(layer, self.parameters) if self.learns else layer

    def first(self, tokens: int) -> int:
        """The first sparse row: whole blocks from the start that cover the dense tokens."""
        size = self.settings.block_size
        return min(-(-self.settings.first_dense // size) * size, tokens)

    @torch.no_grad()
    def kept(self, before: Tensor, blocks: Tensor) -> tuple[Tensor, Tensor | None]:
        """Kept neurons [n, K] of blocks [n, B, d] by the plan's selector, and which of them count
        if blocks keep different numbers.
        """
        return self.chooser.neurons(self.chooser.dynamic(before, blocks))

    def soft_choice(self, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Neurons [n, K + borderline] of blocks [n, B, d] by the learning selector, and how much
        each counts: 1 or 0, with gradients.
        """
        layer = self.layer
        scores = self.selector.log_scores(layer, blocks, self.parameters)
        hot, dynamic = layer.order[: layer.hot].expand(len(blocks), -1), layer.kept - layer.hot
        ranked = scores.detach().clone().scatter_(1, hot, torch.inf)
        count = min(layer.kept + round(BORDERLINE * dynamic), scores.shape[1])
        values, index = ranked.topk(count, 1)
        edge = (values[:, layer.kept - 1] + values[:, min(layer.kept, count - 1)]) / 2
        distance = scores.gather(1, index) - edge.nan_to_num(posinf=0.0)[:, None]
        soft = torch.sigmoid(distance / TEMPERATURE)
        hard = torch.zeros_like(soft)
        hard[:, : layer.kept] = 1
        straight_through = soft - soft.detach()
        straight_through[:, : layer.hot] = 0
        return index, hard + straight_through

    @torch.no_grad()
    def order(self, x: Tensor) -> Tensor:
        """Order of tokens x [T, d] in which each block's follow one another."""
        if not self.chooser.reorders:
            return torch.arange(len(x), device=x.device)
        features = x.float() @ self.parameters["projection"].T
        return self.chooser.token_order(x, features)

    def sparse(self, before: Tensor, x: Tensor) -> Tensor:
        """Sparse FFN of whole blocks x [T, d] in float32, with gradients; before [B, d].

        A layer that keeps every neuron is dense and learns nothing.
        """
        if self.layer.whole:
            return self.dense_forward(x).float()
        size = self.settings.block_size
        order = self.order(x)
        given = x[order].view(-1, size, x.shape[1])
        blocks, w_down_t = given.float(), self.w_down_t.float()
        projection, v, c = (self.parameters[name] for name in AffineState.axes)
        z = blocks @ projection.T
        rest = z @ (w_down_t.T @ v).T + w_down_t.T @ c
        if output_map := self.output_map(detached=False):
            moved = blocks @ output_map.projection.T @ output_map.expansion.T
            rest = rest + moved + output_map.bias
        counts: Tensor | None
        if self.learns:
            index, counts = self.soft_choice(given)
        else:
            index, counts = self.kept(before.detach(), given.detach())
        gate, up = (
            linear_by_block(blocks, w[index].float()) for w in (self.ffn.w_gate, self.ffn.w_up)
        )
        estimate = torch.baddbmm(c[index].unsqueeze(1), z, v[index].transpose(1, 2))
        exact = self.ffn.act(gate) * up - estimate
        if counts is not None:
            exact = exact * counts.unsqueeze(1)
        kept = linear_by_block(exact, w_down_t[index].transpose(1, 2))
        return (rest + kept).flatten(0, 1)[order.argsort()]

    def forward(self, x: Tensor) -> Tensor:
        """The module's forward for a window x [1, T, d]: the first tokens and those from `end` on
        dense, whole sparse blocks between.
        """
        first = self.first(x.shape[1])
        end = x.shape[1] if self.end is None else self.end
        head, context, tail = x[0, :first], x[0, first:end], x[0, end:]
        parts = [self.dense_forward(head), self.sparse(head, context).to(x.dtype)]
        if len(tail):
            parts.append(self.dense_forward(tail))
        return torch.cat(parts).unsqueeze(0)


@contextmanager
def trainable(
    model: Any, plan: SparsePlan, recompute: bool | None = None, learns_choice: bool = True
) -> Iterator[list[TrainableFFN]]:
    """The model with trainable sparse FFNs and frozen weights; as before afterwards.

    recompute: see `recomputed_layers`; learns_choice: see `TrainableFFN`.
    """
    ffns = gated_ffns(model)
    with ExitStack() as stack:
        for ffn in ffns:
            stack.enter_context(stored_by_neuron(ffn))
        layers = [
            TrainableFFN(ffn, layer, plan, learns_choice)
            for ffn, layer in zip(ffns, plan.layers, strict=True)
        ]
        stack.enter_context(frozen_weights(model))
        for ffn, layer in zip(ffns, layers, strict=True):
            stack.enter_context(attribute(ffn.module, "forward", layer.forward))
        stack.enter_context(recomputed_layers(model, recompute))
        yield layers
