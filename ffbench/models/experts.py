"""Routed experts as transformers keeps them since version 5: all of a layer in two tensors.

`experts.gate_up_proj` [E, 2f, d] has the gate's rows first, `experts.down_proj` is [E, d, f]. The
module gets hidden states [T, d], the router's choice [T, k] and its weights [T, k].
"""

from typing import Any

from torch import Tensor

from ffbench.models.gated_ffn import WEIGHT_DTYPES
from ffbench.models.layouts import mixture_layout

# Mixtures that run sparse, by model_type.
SPARSE_MIXTURES = ("mixtral", "olmoe", "qwen3_moe", "qwen2_moe", "glm4_moe")
WEIGHTS = {"gate_up_proj", "down_proj"}
CHOSEN = "num_experts_per_tok"  # of a configuration: how many routed experts see a token


def has_experts(module: Any) -> bool:
    """Whether a layer's FFN module routes its tokens to experts."""
    return hasattr(module, "experts")


def experts_problem(module: Any) -> str | None:
    """Why a layer's experts cannot run sparse; None if they can."""
    if mixture_layout(module) is None:
        parts = ", ".join(sorted(name for name, _ in module.named_children()))
        return f"its mixture of experts has {parts}, not a gate and experts"
    experts = module.experts
    weights = dict(experts.named_parameters())
    if set(weights) != WEIGHTS:
        return f"its experts hold {', '.join(sorted(weights))}, not gate_up_proj and down_proj"
    gate_up, down = weights["gate_up_proj"], weights["down_proj"]
    if gate_up.dtype not in WEIGHT_DTYPES:
        return f"its experts hold quantised weights ({gate_up.dtype})"
    count, d, f = down.shape
    if tuple(gate_up.shape) != (count, 2 * f, d):
        return (
            f"gate_up_proj is {tuple(gate_up.shape)}; {count} experts of {f} neurons on {d} inputs "
            f"have {(count, 2 * f, d)}"
        )
    return None


def shared_expert(module: Any) -> Any:
    """The FFN beside a layer's routed experts that every token passes; None if there is none."""
    layout = mixture_layout(module)
    return getattr(module, layout.shared) if layout and layout.shared else None


def expert_weights(experts: Any) -> list[tuple[Tensor, Tensor, Tensor]]:
    """w_gate, w_up [f, d] and w_down [d, f] of every expert, as views of their tensors."""
    return [
        (*gate_up.chunk(2), down)
        for gate_up, down in zip(experts.gate_up_proj, experts.down_proj, strict=True)
    ]


def routed(choice: Tensor, expert: int) -> tuple[Tensor, Tensor]:
    """Tokens that a router's choice [T, k] sends to an expert, in order, and the place of the
    expert in the choice of each.
    """
    tokens, places = (choice == expert).nonzero(as_tuple=True)
    return tokens, places
