"""The same density in every layer on average; the blocks of a prompt share it (our design)."""

from dataclasses import dataclass
from typing import ClassVar

from ffbench.methods.block_counts import RULES
from ffbench.methods.registry import one_of
from ffbench.methods.schedulers.base import LayerMeasurements, Scheduler, scheduler
from ffbench.methods.schedulers.budget import allot


@scheduler
@dataclass(frozen=True)
class PerBlock(Scheduler):
    """Blocks whose scores are spread out, or whose residual energy is large, keep more neurons.

    rule: `mass` compares each block's scores after they are scaled to sum one, `energy` compares
    them as they are.
    """

    name: ClassVar[str] = "per_block"

    rule: str = "mass"

    def problems(self) -> list[str]:
        """An unknown rule."""
        return one_of("rule", self.rule, RULES)

    @property
    def per_block(self) -> str | None:
        """The rule."""
        return self.rule

    def kept(self, layers: LayerMeasurements) -> list[int]:
        """Equal shares on average."""
        return allot([1.0] * layers.layers, layers.f, layers.total)
