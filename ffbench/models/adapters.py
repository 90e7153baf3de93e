"""Find the gated FFN of each layer in a Hugging Face causal language model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ffbench.models.errors import UnsupportedModelError

__all__ = [
    "ACTIVATIONS",
    "ACTIVATION_FUNCTIONS",
    "GatedFFN",
    "UnsupportedModelError",
    "decoder_layers",
    "gated_ffns",
]

# Hugging Face's name of an activation -> the kernels' name of it
ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
}
ACTIVATION_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "gelu": functional.gelu,
    "relu": functional.relu,
}
PROJECTIONS = ("gate_proj", "up_proj", "down_proj")
# Phi-3, Phi-4 and GLM: one matrix [2f, d], the gate's rows first
FUSED_PROJECTIONS = ("gate_up_proj", "down_proj")
WEIGHT_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class GatedFFN:
    """One layer's FFN: module plus weights w_gate, w_up [f, d] and w_down [d, f].

    The weights are the module's own, or views of them, so that writing to them changes the model.
    """

    layer: int
    module: nn.Module
    w_gate: Tensor
    w_up: Tensor
    w_down: Tensor
    activation: str

    @property
    def act(self) -> Callable[[Tensor], Tensor]:
        """The activation function of the gate."""
        return ACTIVATION_FUNCTIONS[self.activation]

    @property
    def down(self) -> nn.Module:
        """The down projection; its input is the activations."""
        return self.module.down_proj  # type: ignore[return-value]

    def gate(self, x: Tensor) -> Tensor:
        """act(x Wg^T) [T, f] of x [T, d]."""
        return self.act(functional.linear(x, self.w_gate))

    def activations(self, x: Tensor) -> Tensor:
        """Exact activations act(x Wg^T) * (x Wu^T) [T, f] of x [T, d]."""
        return self.gate(x) * functional.linear(x, self.w_up)


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


def projections(module: Any) -> tuple[str, ...]:
    """Names of the projections that an FFN module should have: fused ones if it has the first."""
    return FUSED_PROJECTIONS if hasattr(module, FUSED_PROJECTIONS[0]) else PROJECTIONS


def weights_of(module: Any) -> tuple[Tensor, Tensor, Tensor]:
    """w_gate, w_up [f, d] and w_down [d, f] of an FFN module, as views of its own weights."""
    down = module.down_proj.weight
    if projections(module) == FUSED_PROJECTIONS:
        f = down.shape[1]
        return module.gate_up_proj.weight[:f], module.gate_up_proj.weight[f:], down
    return module.gate_proj.weight, module.up_proj.weight, down


def ffn_problem(module: Any, activation: str | None) -> str | None:
    """Why one layer's FFN cannot run sparse; None if it can."""
    if module is None:
        return "has no `mlp`"
    names = projections(module)
    parts: dict[str, Any] = {name: getattr(module, name, None) for name in names}
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
    if names == FUSED_PROJECTIONS:
        rows, f = len(parts["gate_up_proj"].weight), parts["down_proj"].weight.shape[1]
        if rows != 2 * f:
            return f"gate_up_proj has {rows} rows; gate and up of {f} neurons have {2 * f}"
    if activation not in ACTIVATIONS:
        return f"activation {activation!r} is not supported; supported: {', '.join(ACTIVATIONS)}"
    return None


def shared(first: int, second: int) -> str:
    """The sentence for two layers with one FFN module."""
    return (
        f"model: layers {first} and {second} share one FFN, and a plan has neurons for each layer; "
        "give each layer a module of its own"
    )


def gated_ffns(model: Any) -> list[GatedFFN]:
    """Every layer's gated FFN, in layer order.

    Raises UnsupportedModelError, naming the first layer that cannot run sparse and what is wrong.
    """
    ffns: list[GatedFFN] = []
    activation = activation_name(model.config)
    for index, layer in enumerate(decoder_layers(model)):
        module: Any = getattr(layer, "mlp", None)
        if problem := ffn_problem(module, activation):
            raise UnsupportedModelError(f"model: layer {index}: {problem}")
        if (other := next((ffn.layer for ffn in ffns if ffn.module is module), None)) is not None:
            raise UnsupportedModelError(shared(other, index))
        ffns.append(GatedFFN(index, module, *weights_of(module), ACTIVATIONS[str(activation)]))
    return ffns
