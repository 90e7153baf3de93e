"""What FFBench knows of one gated FFN: its weights, its formula and the module that computes it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ffbench.methods.float32_products import linear
from ffbench.methods.places import Place

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
WEIGHT_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class GatedFFN:
    """One FFN: module plus weights w_gate, w_up [f, d] and w_down [d, f].

    The weights are the module's own, or views of them, so that writing to them changes the model.
    layer, expert, shared, share: its place (`methods.places`). The module of a routed expert
    computes all of its layer. down_name: the module's name of its down projection.
    """

    layer: int
    module: nn.Module
    w_gate: Tensor
    w_up: Tensor
    w_down: Tensor
    activation: str
    expert: int | None = None
    down_name: str = "down_proj"
    shared: bool = False
    share: float = 1.0

    @property
    def name(self) -> str:
        """The FFN in messages."""
        return self.place.text()

    @property
    def place(self) -> Place:
        """Where the FFN is in the model."""
        return Place(self.layer, self.expert, self.shared, self.share)

    @property
    def act(self) -> Callable[[Tensor], Tensor]:
        """The activation function of the gate."""
        return ACTIVATION_FUNCTIONS[self.activation]

    @property
    def down(self) -> nn.Module:
        """The down projection of an FFN of its own module; its input is the activations."""
        return self.module.get_submodule(self.down_name)

    def gate(self, x: Tensor) -> Tensor:
        """act(x Wg^T) [T, f] of x [T, d]."""
        return self.act(linear(x, self.w_gate))

    def activations(self, x: Tensor) -> Tensor:
        """Exact activations act(x Wg^T) * (x Wu^T) [T, f] of x [T, d]."""
        return self.gate(x) * linear(x, self.w_up)

    def output(self, x: Tensor) -> Tensor:
        """The FFN of x [T, d] by three plain products, [T, d]."""
        return linear(self.activations(x), self.w_down)

    def arguments(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the module is called with to compute this FFN of x [T, d] and nothing else: a batch
        of one, or x with a router's choice of this expert with weight one.
        """
        if self.expert is None:
            return (x[None],)
        return x, torch.full((len(x), 1), self.expert, device=x.device), x.new_ones(len(x), 1)
