"""The activations that a gated FFN may use, by name."""

import torch
from torch import Tensor

NAMES = ("silu", "gelu_tanh", "gelu", "relu")
ALIASES = {"gelu_pytorch_tanh": "gelu_tanh"}


def canonical(name: str) -> str:
    """Return the name without alias. TypeError for a non-string, ValueError for an unknown name."""
    if not isinstance(name, str):
        raise TypeError(f"activation: expected a str, received {type(name).__name__}")
    name = ALIASES.get(name, name)
    if name not in NAMES:
        expected = ", ".join((*NAMES, *ALIASES))
        raise ValueError(f"activation: expected one of {expected}; received {name!r}")
    return name


def activate(name: str, g: Tensor) -> Tensor:
    """Return act(g) as a new tensor; `name` is canonical."""
    if name == "silu":
        return torch.nn.functional.silu(g)
    if name == "relu":
        return torch.relu(g)
    return torch.nn.functional.gelu(g, approximate="tanh" if name == "gelu_tanh" else "none")


def gate_(name: str, g: Tensor, u: Tensor) -> Tensor:
    """Overwrite g with act(g) * u and return it. g and u have one shape; `name` is canonical."""
    if name == "silu":
        torch.nn.functional.silu(g, inplace=True)
    elif name == "relu":
        g.relu_()
    else:
        torch.ops.aten.gelu_(g, approximate="tanh" if name == "gelu_tanh" else "none")
    return g.mul_(u)
