"""Routed experts as transformers keeps them since version 5: all of a layer in two tensors.

`experts.gate_up_proj` [E, 2f, d] has the gate's rows first, `experts.down_proj` is [E, d, f]. The
module gets hidden states [T, d], the router's choice [T, k] and its weights [T, k].
"""

from typing import Any

from torch import Tensor

from ffbench.models.gated_ffn import WEIGHT_DTYPES

# Mixtures that run sparse, by model_type.
SPARSE_MIXTURES = ("mixtral", "olmoe", "qwen3_moe")
PARTS = {"gate", "experts"}  # the router and the experts
WEIGHTS = {"gate_up_proj", "down_proj"}


def has_experts(module: Any) -> bool:
    """Whether a layer's FFN module routes its tokens to experts."""
    return hasattr(module, "experts")


def experts_problem(module: Any) -> str | None:
    """Why a layer's experts cannot run sparse; None if they can."""
    parts = {name for name, _ in module.named_children()}
    if parts != PARTS:
        return f"its mixture of experts has {', '.join(sorted(parts))}, not a gate and experts"
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
