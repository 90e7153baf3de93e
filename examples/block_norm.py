"""A selector of one's own: the static prior, scaled by a power of each block's mean input norm.

PYTHONPATH=examples python -m ffbench plugins=[block_norm] selector=block_norm selector.power=0,1
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ffbench.methods.selectors.base import Selector, SelectorInputs, selector


@selector
@dataclass(frozen=True)
class BlockNorm(Selector):
    """Prior times the block's mean input norm to a power; 0 is the prior alone."""

    name: ClassVar[str] = "block_norm"

    power: float = 1.0

    def scores(self, inputs: SelectorInputs) -> Tensor:
        """Scores [n, f] of blocks [n, B, d]."""
        norms = inputs.blocks.norm(dim=2).mean(1, keepdim=True)
        return inputs.layer.predictor.prior * norms**self.power
