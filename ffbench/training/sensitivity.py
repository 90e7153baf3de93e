"""What each layer's sparsity costs the model: KL to the dense one with that layer alone sparse."""

from typing import Any

import torch
from torch import Tensor

from ffbench.methods.plan import SparsePlan
from ffbench.models.adapters import decoder_layers, gated_ffns
from ffbench.models.sparse_prefill import Prefill, SparseFFN
from ffbench.runs.progress import progress_bar
from ffbench.training.layer_walk import first_hidden, layer_arguments, through
from ffbench.training.tuning.teacher import positions_of
from ffbench.training.tuning.tune import divergence


@torch.no_grad()
def layer_costs(model: Any, plan: SparsePlan, windows: Tensor) -> list[float]:
    """KL(dense || one layer sparse) in nats of every layer, mean over windows ids [n, T] (our
    design).

    Only the layers from the sparse one on are computed again. Raises ValueError for a plan with a
    hot set, whose neurons would have to be reordered in the model.
    """
    if any(layer.hot for layer in plan.layers):
        raise ValueError("sensitivity: expects a plan without hot neurons")
    layers, prompt = decoder_layers(model), Prefill()
    sparse = [
        SparseFFN(ffn, layer, plan, prompt, "torch")
        for ffn, layer in zip(gated_ffns(model), plan.layers, strict=True)
    ]
    arguments = layer_arguments(model, windows[0])
    sums = [0.0] * len(layers)
    for i, ids in enumerate(progress_bar(windows, desc="schedule: sensitivity")):
        positions = positions_of(i, len(ids))
        hidden = [first_hidden(model, ids)]
        for layer, given in zip(layers, arguments, strict=True):
            hidden.append(through(layer, hidden[-1], given))
        dense = model.model.norm(hidden[-1])[0, positions]
        prompt.real = [slice(0, len(ids))]
        for start, ffn in enumerate(sparse):
            ffn.ffn.module.forward = ffn.forward  # type: ignore[method-assign]
            try:
                state = through(layers[start], hidden[start], arguments[start])
            finally:
                ffn.ffn.module.__dict__.pop("forward")
            for layer, given in zip(list(layers)[start + 1 :], arguments[start + 1 :], strict=True):
                state = through(layer, state, given)
            sums[start] += divergence(
                model.lm_head, dense, model.model.norm(state)[0, positions]
            ).item()
    return [total / len(windows) for total in sums]


def neuron_gains(costs: list[float], energies: Tensor, kept: list[int]) -> Tensor:
    """What keeping each neuron is worth, [layers, f], in nats (our design).

    A layer's measured cost at `kept` neurons is shared out over the neurons that it skipped, in
    proportion to their mean residual energy `energies` [layers, f]; the kept ones are worth the
    same for each unit of energy.
    """
    ordered = energies.sort(1, descending=True).values
    lost = torch.stack([row[count:].sum() for row, count in zip(ordered, kept, strict=True)])
    return energies * (torch.tensor(costs) / lost.clamp_min(1e-30))[:, None]
