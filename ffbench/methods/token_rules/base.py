"""What a token rule is: a published per-token sparsity rule, computed dense for accuracy only."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ffbench.methods.registry import Method, Registry
from ffbench.methods.tensors import Axes

if TYPE_CHECKING:
    from ffbench.methods.plan import LayerPlan


@dataclass(frozen=True)
class TokenInputs:
    """What a token rule may look at: a layer's inputs x [T, d], its weights [f, d] and [d, f], the
    gate's activation function and the layer's plan.
    """

    layer: "LayerPlan"
    x: Tensor
    w_gate: Tensor
    w_up: Tensor
    w_down: Tensor
    act: Callable[[Tensor], Tensor]

    @property
    def density(self) -> float:
        """Share of the layer's neurons that the schedule grants."""
        return self.layer.kept / len(self.layer.order)


@dataclass(frozen=True)
class TokenRule(Method, ABC):
    """A rule that works token by token.

    It has no block-wise form that the kernels compute, so it is never timed. `skips_inputs`: it
    leaves out inputs of the matrices instead of neurons.
    """

    skips_inputs: ClassVar[bool] = False
    # axes of the tensors that `prepare` makes
    tensor_axes: ClassVar[Axes] = {}

    @abstractmethod
    def hidden(self, inputs: TokenInputs) -> tuple[Tensor, float]:
        """What goes into the down product [T, f], and the share of the FFN's work that a kernel
        with such masks would have done.
        """

    def flops(self, layer: "LayerPlan", d: int, block_size: int) -> float:
        """FLOPs per token in addition to the kept share."""
        return 0.0

    def prepare(self, w_gate: Tensor, w_up: Tensor, w_down: Tensor) -> dict[str, Tensor]:
        """Tensors made once from the weights [f, d], [f, d] and [d, f]; see `tensor_axes`."""
        return {}


TOKEN_RULES: Registry[TokenRule] = Registry("selector")
token_rule = TOKEN_RULES.add


def threshold(levels: Tensor, share: float) -> float:
    """The value that a `share` of the calibration values does not exceed, by linear interpolation;
    levels [n] are quantiles in even steps.
    """
    place = share * (len(levels) - 1)
    low = min(int(place), len(levels) - 2)
    weight = place - low
    return float(levels[low] * (1 - weight) + levels[low + 1] * weight)


def estimated_elsewhere(inputs: TokenInputs, a: Tensor, kept: Tensor) -> Tensor:
    """Exact activations a [T, f] where `kept`, the plan's estimate elsewhere; in the dtype of a."""
    return torch.where(kept, a, inputs.layer.compensation.estimate(inputs.x).to(a.dtype))
