"""The activations that a gated FFN may use: their names, and the code of each in the kernels."""

import torch
from torch import Tensor

# The only table of codes: the C++ build receives them as definitions, the Triton kernels import
# them.
CODES = {"silu": 0, "gelu_tanh": 1, "gelu": 2, "relu": 3}
NAMES = tuple(CODES)
ALIASES = {"gelu_pytorch_tanh": "gelu_tanh"}


def canonical(name: str) -> str:
    """Return the name without alias. TypeError for a non-string, ValueError for an unknown name."""
    if not isinstance(name, str):
        raise TypeError(f"activation: expected a str, received {type(name).__name__}")
    name = ALIASES.get(name, name)
    if name not in CODES:
        expected = ", ".join((*NAMES, *ALIASES))
        raise ValueError(f"activation: expected one of {expected}; received {name!r}")
    return name


def activate(name: str, g: Tensor) -> Tensor:
    """Return act(g) as a new tensor; `name` is canonical. ValueError for an unknown name."""
    if name == "silu":
        return torch.nn.functional.silu(g)
    if name == "relu":
        return torch.relu(g)
    if name in ("gelu", "gelu_tanh"):
        return torch.nn.functional.gelu(g, approximate="tanh" if name == "gelu_tanh" else "none")
    raise ValueError(f"activation: expected one of {', '.join(NAMES)}; received {name!r}")


def gate_(name: str, g: Tensor, u: Tensor) -> Tensor:
    """Overwrite g with act(g) * u and return it.

    g and u have the same shape; `name` is canonical. ValueError for an unknown name.
    """
    if name == "silu":
        torch.nn.functional.silu(g, inplace=True)
    elif name == "relu":
        g.relu_()
    elif name in ("gelu", "gelu_tanh"):
        torch.ops.aten.gelu_(g, approximate="tanh" if name == "gelu_tanh" else "none")
    else:
        raise ValueError(f"activation: expected one of {', '.join(NAMES)}; received {name!r}")
    return g.mul_(u)
