"""One set of neurons for every block, from calibration text."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ffbench.methods.registry import one_of
from ffbench.methods.selectors.base import Selector, SelectorInputs, selector

STATISTICS = ("residual", "wanda", "flap")


@selector
@dataclass(frozen=True)
class Static(Selector):
    """The neurons with the largest value of a calibration statistic, the same for every block.

    statistic: `residual`, mean residual energy after the compensator (our design); `wanda`,
    E a_j^2 |Wd_j|^2, the square of Wanda's |W| |x| (arXiv 2306.11695) summed over a down column
    (FLAP's Wanda-sp takes the sum of the absolute values instead); `flap`, Var(a_j) |Wd_j|^2, the
    fluctuation metric of arXiv 2312.11983 without its standardisation over layers, which is the
    scheduler's matter here.
    """

    name: ClassVar[str] = "static"

    statistic: str = "residual"

    def problems(self) -> list[str]:
        """An unknown statistic."""
        return one_of("statistic", self.statistic, STATISTICS)

    def scores(self, inputs: SelectorInputs) -> Tensor:
        """The statistic for every block; residual energy times the block's predicted scale, if the
        blocks were sorted by it. One order of the neurons serves all blocks either way.
        """
        if self.statistic == "residual":
            prior = inputs.layer.predictor.prior.expand(len(inputs.blocks), -1)
            return prior if inputs.scale is None else prior * inputs.scale(inputs.blocks)[:, None]
        statistics, norms = inputs.layer.statistics, inputs.down_norms.square()
        value = statistics["second"]
        if self.statistic == "flap":
            value = (value - statistics["mean"].square()).clamp_min(0)
        return (value * norms).expand(len(inputs.blocks), -1)
