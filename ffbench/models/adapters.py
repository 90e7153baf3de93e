"""Find the gated FFN of each layer in a Hugging Face causal language model."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ffbench.models.errors import UnsupportedModelError

__all__ = ["ACTIVATIONS", "GatedFFN", "UnsupportedModelError", "decoder_layers", "gated_ffns"]

# Hugging Face's name of an activation -> the kernels' name of it
ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
}
PROJECTIONS = ("gate_proj", "up_proj", "down_proj")
WEIGHT_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class GatedFFN:
    """One layer's FFN: module plus weights w_gate, w_up [f, d] and w_down [d, f]."""

    layer: int
    module: nn.Module
    w_gate: Tensor
    w_up: Tensor
    w_down: Tensor
    activation: str


def decoder_layers(model: Any) -> Any:
    """The list of decoder layers. Raises UnsupportedModelError if the model has none."""
    layers = getattr(getattr(model, "model", None), "layers", None)
    if layers is None:
        raise UnsupportedModelError(
            f"model: {type(model).__name__} has no decoder layers at model.layers; FFBench needs a "
            "decoder whose layers have gate_proj, up_proj and down_proj"
        )
    return layers


def activation_name(config: Any) -> str | None:
    """The activation that a configuration names; Gemma calls the field hidden_activation."""
    return getattr(config, "hidden_act", None) or getattr(config, "hidden_activation", None)


def ffn_problem(module: Any, activation: str | None) -> str | None:
    """Why one layer's FFN cannot run sparse; None if it can."""
    if module is None:
        return "has no `mlp`"
    parts = {name: getattr(module, name, None) for name in PROJECTIONS}
    if missing := [name for name, part in parts.items() if part is None]:
        there = ", ".join(name for name, _ in module.named_children()) or "nothing"
        return f"{type(module).__name__} has no {', '.join(missing)} (it has {there})"
    for name, part in parts.items():
        if type(part) is not nn.Linear:
            return f"{name} is {type(part).__name__}, not a plain Linear"
        if part.bias is not None:
            return f"{name} has a bias; FFBench supports FFNs without biases"
        if part.weight.dtype not in WEIGHT_DTYPES or part.weight.dim() != 2:
            return f"{name} holds quantised weights ({part.weight.dtype})"
    if activation not in ACTIVATIONS:
        return f"activation {activation!r} is not supported; supported: {', '.join(ACTIVATIONS)}"
    return None


def gated_ffns(model: Any) -> list[GatedFFN]:
    """Every layer's gated FFN, in layer order.

    Raises UnsupportedModelError, naming the first layer that cannot run sparse and what is wrong.
    """
    ffns = []
    activation = activation_name(model.config)
    for index, layer in enumerate(decoder_layers(model)):
        module: Any = getattr(layer, "mlp", None)
        if problem := ffn_problem(module, activation):
            raise UnsupportedModelError(f"model: layer {index}: {problem}")
        gate, up, down = (getattr(module, name).weight for name in PROJECTIONS)
        ffns.append(GatedFFN(index, module, gate, up, down, ACTIVATIONS[str(activation)]))
    return ffns
