"""Walk calibration text through the dense model layer by layer; only one layer's activations exist
at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from ffbench.models.adapters import GatedFFN, decoder_layers, gated_ffns
from ffbench.models.experts import routed
from ffbench.runs.progress import progress_bar

SINK_TOKENS = 128  # attention sinks; they run dense in every plan
HELD_BYTES = 512 * 2**20  # of one layer's activations; beyond it they are computed twice


@dataclass
class LayerData:
    """One FFN with its inputs x [T, d] per window, and its activations [T, f] if they fit into
    memory. An expert's inputs are the tokens that are routed to it.

    The first SINK_TOKENS of each window are left out (at most half of it): they are attention sinks
    and run dense.
    """

    ffn: GatedFFN
    inputs: list[Tensor]
    held: list[Tensor]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and activations of each window."""
        for i, x in enumerate(self.inputs):
            yield x, self.held[i] if self.held else self.activations(x)

    def activations(self, x: Tensor) -> Tensor:
        """Exact activations [T, f] of x [T, d]."""
        return self.ffn.activations(x)

    @property
    def too_few(self) -> bool:
        """Whether this is an expert that fewer tokens reach than it has inputs d: the second
        moments of its inputs are singular.
        """
        tokens = sum(len(x) for x in self.inputs)
        return self.ffn.expert is not None and tokens < self.ffn.w_gate.shape[1]


class _Stop(Exception):
    """Ends a forward pass once the first layer's arguments are known."""


def first_hidden(model: Any, ids: Tensor) -> Tensor:
    """Hidden states [1, T, d] that enter the first layer."""
    seen: list[Tensor] = []

    def stop(module: Any, args: tuple, kwargs: dict) -> None:
        seen.append(args[0] if args else kwargs["hidden_states"])
        raise _Stop

    handle = decoder_layers(model)[0].register_forward_pre_hook(stop, with_kwargs=True)
    try:
        model.model(ids.unsqueeze(0).to(model.device), use_cache=False)
    except _Stop:
        return seen[0]
    finally:
        handle.remove()
    raise AssertionError("the first layer was not called")


def layer_arguments(model: Any, ids: Tensor) -> list[dict[str, Any]]:
    """Keyword arguments (masks, positions) that each layer gets for a window of this length."""
    found: list[dict[str, Any]] = []
    handles = [
        layer.register_forward_pre_hook(
            lambda module, args, kwargs: found.append(
                {k: v for k, v in kwargs.items() if k != "hidden_states"}
            ),
            with_kwargs=True,
        )
        for layer in decoder_layers(model)
    ]
    try:
        model.model(ids.unsqueeze(0).to(model.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return found


def layer_forward(layer: Any, hidden: Tensor, arguments: dict[str, Any]) -> Tensor:
    """One decoder layer's output [1, T, d]."""
    out = layer(hidden, **arguments)
    return out[0] if isinstance(out, tuple) else out


def watch_ffn(data: LayerData, skipped: int, holds: bool) -> list[Any]:
    """Hooks that collect the inputs of an FFN of its own module, [1, T, d] or [T, d], and its
    activations if `holds`.
    """

    def collect(into: list[Tensor]) -> Callable[[Any, tuple[Tensor, ...]], None]:
        return lambda module, args: into.append(args[0].flatten(0, -2)[skipped:])

    hooks = [data.ffn.module.register_forward_pre_hook(collect(data.inputs))]
    if holds:
        hooks.append(data.ffn.down.register_forward_pre_hook(collect(data.held)))
    return hooks


def watch_experts(layer: list[LayerData], skipped: int) -> list[Any]:
    """The hook that collects the inputs of each of a layer's experts."""

    def collect(module: Any, args: tuple[Tensor, Tensor, Tensor]) -> None:
        hidden, choice = args[0][skipped:], args[1][skipped:]
        for data in layer:
            assert data.ffn.expert is not None
            data.inputs.append(hidden[routed(choice, data.ffn.expert)[0]])

    return [layer[0].ffn.module.register_forward_pre_hook(collect)]


@torch.no_grad()
def walk_layers(model: Any, batches: Tensor, label: str = "calibration") -> Iterator[LayerData]:
    """Data of every FFN over windows [n, T], in the order of `gated_ffns`."""
    arguments = layer_arguments(model, batches[0])
    hidden = [first_hidden(model, ids) for ids in batches]
    skipped = min(SINK_TOKENS, batches.shape[1] // 2)
    layers = progress_bar(decoder_layers(model), desc=label)
    by_layer = groupby(gated_ffns(model), key=lambda ffn: ffn.layer)
    for layer, (_, ffns), kwargs in zip(layers, by_layer, arguments, strict=True):
        data = [LayerData(ffn, [], []) for ffn in ffns]
        experts = [one for one in data if one.ffn.expert is not None]
        hooks = watch_experts(experts, skipped) if experts else []
        for one in data:
            if one.ffn.expert is None:
                holds = 4 * batches.numel() * len(one.ffn.w_gate) <= HELD_BYTES
                hooks += watch_ffn(one, skipped, holds)
        try:
            for i, states in enumerate(hidden):
                hidden[i] = layer_forward(layer, states, kwargs)
        finally:
            for hook in hooks:
                hook.remove()
        yield from data
