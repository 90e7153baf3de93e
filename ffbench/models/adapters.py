"""Find the gated FFN of each layer in a Hugging Face causal language model."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

SUPPORTED = ("llama", "qwen2", "qwen3", "mistral", "smollm3", "gemma", "olmo2")
ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
}


class UnsupportedModelError(ValueError):
    """The model has no gated FFN that FFBench knows."""


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
    """The list of decoder layers. Raises UnsupportedModelError where the model has none."""
    layers = getattr(getattr(model, "model", None), "layers", None)
    if layers is None:
        raise UnsupportedModelError(
            f"model type {model.config.model_type!r} is not supported; supported: {', '.join(SUPPORTED)}"
        )
    return layers


def gated_ffns(model: Any) -> list[GatedFFN]:
    """Every layer's gated FFN, in layer order.

    Raises UnsupportedModelError for another architecture, naming the supported ones.
    """
    found = []
    for index, layer in enumerate(decoder_layers(model)):
        module = getattr(layer, "mlp", None)
        parts = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
        name = getattr(model.config, "hidden_act", None) or getattr(
            model.config, "hidden_activation", None
        )
        if (
            any(not isinstance(p, nn.Linear) or p.bias is not None for p in parts)
            or name not in ACTIVATIONS
        ):
            raise UnsupportedModelError(
                f"model type {model.config.model_type!r}, layer {index}: no bias-free gate_proj/up_proj/down_proj "
                f"with a known activation; supported: {', '.join(SUPPORTED)}"
            )
        gate, up, down = (p.weight for p in parts)  # type: ignore[union-attr]
        found.append(GatedFFN(index, module, gate, up, down, ACTIVATIONS[name]))  # type: ignore[arg-type]
    return found
