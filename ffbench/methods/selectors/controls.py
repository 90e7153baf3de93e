"""Controls that look at no data: random scores, and the norms of the weights."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ffbench.methods.selectors.base import Selector, SelectorInputs, selector
from ffbench.methods.tensors import NEURON, Axes


@selector
@dataclass(frozen=True)
class Random(Selector):
    """Uniform random scores from the plan's seed, different for each block."""

    name: ClassVar[str] = "random"

    def scores(self, inputs: SelectorInputs) -> Tensor:
        """Drawn on the CPU, so that every device gives the same neurons."""
        generator = torch.Generator().manual_seed(inputs.seed)
        shape = (len(inputs.blocks), inputs.down_norms.numel())
        return torch.rand(*shape, generator=generator).to(inputs.blocks.device)


@selector
@dataclass(frozen=True)
class WeightNorm(Selector):
    """Norm of the gate row times norm of the up row: GRIFFIN's static control (arXiv
    2404.01365).
    """

    name: ClassVar[str] = "weight_norm"
    tensor_axes: ClassVar[Axes] = {"weight_norm": (NEURON,)}

    def prepare(self, w_gate: Tensor, w_up: Tensor, w_down: Tensor) -> dict[str, Tensor]:
        """The products of the norms, [f]."""
        return {"weight_norm": w_gate.float().norm(dim=1) * w_up.float().norm(dim=1)}

    def scores(self, inputs: SelectorInputs) -> Tensor:
        """The same for every block."""
        norms = inputs.layer.selector_tensors["weight_norm"]
        return norms.expand(len(inputs.blocks), -1)
