"""What each layer's sparsity costs: KL to the dense model with that layer alone sparse."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.plan import SparsePlan
from ffbench.models.adapters import decoder_layers, gated_ffns
from ffbench.models.down_rows import stored_by_neuron
from ffbench.models.forward import attribute, divergence
from ffbench.models.prefill_state import Prefill
from ffbench.models.sparse_ffn import SparseFFN
from ffbench.runs.progress import progress_bar
from ffbench.training.layer_walk import first_hidden, layer_arguments, layer_forward
from ffbench.training.tails import TailWindow


@contextmanager
def sparse_ffns(model: Any, plan: SparsePlan, prompt: Prefill) -> Iterator[list[SparseFFN]]:
    """Every layer's FFN ready to run sparse inside; on a card by its fastest kernel and without a
    second copy of the down weights.
    """
    ffns = gated_ffns(model)
    backend = "torch" if ffns[0].w_gate.device.type == "cpu" else "auto"
    with ExitStack() as stack:
        for ffn in ffns:
            stack.enter_context(stored_by_neuron(ffn))
        yield [
            SparseFFN(ffn, layer, plan, prompt, backend)
            for ffn, layer in zip(ffns, plan.layers, strict=True)
        ]


@torch.no_grad()
def layer_costs(
    model: Any, plan: SparsePlan, windows: Sequence[TailWindow], names: Sequence[str]
) -> dict[str, list[float]]:
    """KL(dense || one layer's context sparse) in nats of every layer by objective, mean over
    windows (our design).

    Only the layers from the sparse one on are computed again. Raises ValueError for a plan with a
    hot set, whose neurons would have to be reordered in the model.
    """
    if any(layer.hot for layer in plan.layers):
        raise ValueError("sensitivity: expects a plan without hot neurons")
    layers, prompt = list(decoder_layers(model)), Prefill()
    arguments = layer_arguments(model, windows[0].ids)
    sums = {name: [0.0] * len(layers) for name in names}
    with sparse_ffns(model, plan, prompt) as sparse:
        for window in progress_bar(windows, desc="schedule: sensitivity"):
            hidden = [first_hidden(model, window.ids)]
            for layer, given in zip(layers, arguments, strict=True):
                hidden.append(layer_forward(layer, hidden[-1], given))
            dense = model.model.norm(hidden[-1])[0]
            prompt.real, prompt.offsets = [slice(0, len(window.ids))], [0]
            prompt.dense_from = [window.end]
            for start, ffn in enumerate(sparse):
                with attribute(ffn.ffn.module, "forward", ffn.forward):
                    state = layer_forward(layers[start], hidden[start], arguments[start])
                for layer, given in zip(layers[start + 1 :], arguments[start + 1 :], strict=True):
                    state = layer_forward(layer, state, given)
                final = model.model.norm(state)[0]
                for name in names:
                    at = window.positions[name]
                    sums[name][start] += divergence(model, dense[at], final[at]).item()
    return {name: [total / len(windows) for total in totals] for name, totals in sums.items()}


def neuron_values(costs: list[float], energies: Tensor, kept: list[int]) -> Tensor:
    """What keeping each neuron is worth, [layers, f], in nats (our design).

    A layer's measured cost at `kept` neurons is shared by the neurons that it skipped, in
    proportion to their mean residual energy `energies` [layers, f]; the kept ones are worth the
    same per unit of energy.
    """
    ordered = energies.sort(1, descending=True).values
    lost = torch.stack([row[count:].sum() for row, count in zip(ordered, kept, strict=True)])
    return energies * (torch.tensor(costs) / lost.clamp_min(1e-30))[:, None]
