"""Find the gated FFNs of each layer in a Hugging Face causal language model."""

from typing import Any

import torch
from torch import Tensor, nn

from ffbench.models.errors import UnsupportedModelError
from ffbench.models.experts import (
    CHOSEN,
    expert_weights,
    experts_problem,
    has_experts,
    shared_expert,
)
from ffbench.models.gated_ffn import (
    ACTIVATION_FUNCTIONS,
    ACTIVATIONS,
    WEIGHT_DTYPES,
    GatedFFN,
)
from ffbench.models.layouts import PLAIN, Layout, ffn_of, layout_of

__all__ = [
    "ACTIVATIONS",
    "ACTIVATION_FUNCTIONS",
    "GatedFFN",
    "UnsupportedModelError",
    "decoder_layers",
    "gated_ffns",
]


def decoder_layers(model: Any) -> Any:
    """The list of decoder layers. Raises UnsupportedModelError if the model has none."""
    layers = getattr(getattr(model, "model", None), "layers", None)
    if layers is None:
        raise UnsupportedModelError(
            f"model: {type(model).__name__} has no decoder layers at model.layers; FFBench needs a "
            "decoder whose layers have gate_proj, up_proj and down_proj, or gate_up_proj and "
            "down_proj"
        )
    return layers


def activation_name(config: Any) -> str | None:
    """The activation that a configuration names; Gemma calls the field hidden_activation."""
    return getattr(config, "hidden_act", None) or getattr(config, "hidden_activation", None)


def weights_of(module: Any, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
    """w_gate, w_up [f, d] and w_down [d, f] of an FFN module, as views of its own weights."""
    *first, down = (getattr(module, name).weight for name in layout.projections)
    f = down.shape[1]
    gate, up = (first[0][:f], first[0][f:]) if layout.fused else first
    return gate, up, down


def projections_problem(module: Any, layout: Layout) -> str | None:
    """Why the projections of one layer's FFN cannot run sparse; None if they can."""
    parts: dict[str, Any] = {name: getattr(module, name, None) for name in layout.projections}
    if missing := [name for name, part in parts.items() if part is None]:
        there = ", ".join(name for name, _ in module.named_children()) or "nothing"
        return f"{type(module).__name__} has no {', '.join(missing)} (it has {there})"
    for name, part in parts.items():
        if type(part) is not nn.Linear:
            return f"{name} is {type(part).__name__}, not a plain Linear"
        if part.bias is not None:
            return f"{name} has a bias; FFBench supports FFNs without biases"
        if part.weight.dtype == torch.float64:
            return f"{name} holds {part.weight.dtype} weights; load it in float32 (model.dtype)"
        if part.weight.dtype not in WEIGHT_DTYPES or part.weight.dim() != 2:
            return f"{name} holds quantised weights ({part.weight.dtype})"
    if layout.fused:
        both, down = layout.projections
        rows, f = len(parts[both].weight), parts[down].weight.shape[1]
        if rows != 2 * f:
            return f"{both} has {rows} rows; gate and up of {f} neurons have {2 * f}"
    return None


def mixture_module_problem(module: Any, config: Any) -> str | None:
    """Why a layer's mixture of experts cannot run sparse; None if it can."""
    if problem := experts_problem(module):
        return problem
    shared = shared_expert(module)
    if shared is not None and (problem := projections_problem(shared, PLAIN)):
        return f"its shared expert: {problem}"
    if not getattr(config, CHOSEN, None):
        return f"its configuration does not say how many experts a token sees ({CHOSEN})"
    return None


def ffn_problem(layer: Any, config: Any) -> str | None:
    """Why one layer's FFN, or its experts, cannot run sparse; None if they can."""
    layout = layout_of(layer)
    module, activation = ffn_of(layer, layout), activation_name(config)
    if module is None:
        return f"has no `{layout.ffn}`"
    if has_experts(module):
        problem = mixture_module_problem(module, config)
    else:
        problem = projections_problem(module, layout)
    if problem is None and activation not in ACTIVATIONS:
        return f"activation {activation!r} is not supported; supported: {', '.join(ACTIVATIONS)}"
    return problem


def layer_ffns(index: int, layer: Any, config: Any) -> list[GatedFFN]:
    """The FFN of one layer, or each of its routed experts and then its shared one."""
    layout = layout_of(layer)
    module, activation = ffn_of(layer, layout), ACTIVATIONS[str(activation_name(config))]
    if not has_experts(module):
        weights = weights_of(module, layout)
        return [GatedFFN(index, module, *weights, activation, down_name=layout.projections[-1])]
    routed = expert_weights(module.experts)
    share = getattr(config, CHOSEN) / len(routed)
    ffns = [
        GatedFFN(index, module.experts, *weights, activation, number, share=share)
        for number, weights in enumerate(routed)
    ]
    shared = shared_expert(module)
    if shared is not None:
        ffns.append(GatedFFN(index, shared, *weights_of(shared, PLAIN), activation, shared=True))
    return ffns


def one_module(first: int, second: int) -> str:
    """The sentence for two layers with one FFN module."""
    return (
        f"model: layers {first} and {second} share one FFN, and a plan has neurons for each layer; "
        "give each layer a module of its own"
    )


def gated_ffns(model: Any) -> list[GatedFFN]:
    """Every gated FFN in the order of the layers; in a layer with experts the routed ones in turn,
    then the shared one. Without experts all have the same width.

    Raises UnsupportedModelError, naming the first layer that cannot run sparse and what is wrong.
    """
    ffns: list[GatedFFN] = []
    owners: dict[nn.Module, int] = {}
    for index, layer in enumerate(decoder_layers(model)):
        if problem := ffn_problem(layer, model.config):
            raise UnsupportedModelError(f"model: layer {index}: {problem}")
        found = layer_ffns(index, layer, model.config)
        for ffn in found:
            if (owner := owners.setdefault(ffn.module, index)) != index:
                raise UnsupportedModelError(one_module(owner, index))
        ffns += found
    widths = [len(ffn.w_gate) for ffn in ffns]
    if not has_routed(ffns) and len(set(widths)) > 1:
        raise UnsupportedModelError(f"model: its FFNs have different numbers of neurons: {widths}")
    return ffns


def has_routed(ffns: list[GatedFFN]) -> bool:
    """Whether some of a model's FFNs are routed experts."""
    return any(ffn.expert is not None for ffn in ffns)
