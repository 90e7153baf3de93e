"""GRIFFIN's statistic of an earlier block (arXiv 2404.01365).

GRIFFIN takes the statistic on the whole prompt and uses it for decoding. Here it chooses the
neurons of later blocks of the same prompt: our transfer.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ffbench.methods.registry import one_of
from ffbench.methods.selectors.base import Selector, SelectorInputs, dense_gate_and_up, selector

if TYPE_CHECKING:
    from ffbench.methods.plan import LayerPlan

BLOCKS = ("first", "previous")


def griffin_statistic(a: Tensor) -> Tensor:
    """GRIFFIN's neuron score: rows of a [T, f] normalised, then column L2 norms [f]."""
    a = a.float()
    return (a / a.norm(dim=1, keepdim=True).clamp_min(1e-12)).norm(dim=0)


@selector
@dataclass(frozen=True)
class Griffin(Selector):
    """The statistic of the first block (dense anyway) or of the previous one.

    block: `first` serves every block and costs nothing; `previous` computes each preceding block
    dense, so it shows accuracy only. The static prior stands in if there is no such block.
    """

    name: ClassVar[str] = "griffin"

    block: str = "first"

    def problems(self) -> list[str]:
        """An unknown block."""
        return one_of("block", self.block, BLOCKS)

    @property
    def needs_text_order(self) -> bool:
        """True for the previous block."""
        return self.block == "previous"

    @property
    def reads_earlier_tokens(self) -> bool:
        """Both blocks come before the one that is scored."""
        return True

    def flops(self, layer: "LayerPlan", d: int, block_size: int) -> float:
        """Nothing for the first block, the dense activations for the previous one."""
        return dense_gate_and_up(layer, d) if self.block == "previous" else 0.0

    def scores(self, inputs: SelectorInputs) -> Tensor:
        """The statistic of the block before each sparse one, or of the first."""
        prior = inputs.layer.predictor.prior
        if self.block == "first":
            if not len(inputs.before):
                return prior.expand(len(inputs.blocks), -1)
            statistic = griffin_statistic(inputs.activations(inputs.before))
            return statistic.expand(len(inputs.blocks), -1)
        earlier = [inputs.before, *inputs.blocks[:-1]]
        return torch.stack(
            [griffin_statistic(inputs.activations(x)) if len(x) else prior for x in earlier]
        )
