"""Kept neurons grow with a layer's token mixing: the paper's idea; the formula is our design."""

from dataclasses import dataclass
from typing import ClassVar

from ffbench.methods.registry import at_least, one_of
from ffbench.methods.schedulers.base import LayerMeasurements, Scheduler, scheduler
from ffbench.methods.schedulers.budget import allot

MASSES = ("others", "with_sink", "far")


@scheduler
@dataclass(frozen=True)
class TokenMixing(Scheduler):
    """The share of a layer is floor + (1 - floor) score / mean(score).

    mass: which attention mass counts as mixing: `others`, given to tokens other than the query
    itself and the first (sink) token; `with_sink`, the sink included; `far`, given to tokens at
    least 128 before the query, the sink left out. floor: 1 is uniform, 0 proportional, and above 1
    layers that mix less get more (a control).
    """

    name: ClassVar[str] = "token_mixing"
    measurements: ClassVar[tuple[str, ...]] = ("token_mixing",)

    mass: str = "others"
    floor: float = 0.5

    def problems(self) -> list[str]:
        """An unknown mass or a negative floor."""
        return [*one_of("mass", self.mass, MASSES), *at_least("floor", self.floor, 0)]

    def kept(self, layers: LayerMeasurements) -> list[int]:
        """Shares by score; a share is never below one millionth."""
        scores = layers.token_mixing(self.mass)
        mean = sum(scores) / len(scores)
        shares = [1.0] * len(scores)
        if mean > 0:
            shares = [self.floor + (1 - self.floor) * score / mean for score in scores]
        return allot([max(share, 1e-6) for share in shares], layers.f, layers.total)
