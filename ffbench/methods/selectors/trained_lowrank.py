"""The trained predictor with a low-rank map (our design)."""

from dataclasses import dataclass
from typing import ClassVar

from ffbench.methods.registry import at_least
from ffbench.methods.selectors.base import selector
from ffbench.methods.selectors.trained import Trained


@selector
@dataclass(frozen=True)
class TrainedLowRank(Trained):
    """`trained` with its map of the inputs cut to a rank, by the SVD.

    A full map is as large as one of the FFN's matrices: 3.8 GB for an 8B model, in the plan's file
    and on the card. rank: of the map.
    """

    name: ClassVar[str] = "trained_lowrank"

    rank: int = 256

    def problems(self) -> list[str]:
        """A rank below 1."""
        return at_least("rank", self.rank, 1)

    @property
    def predictor_rank(self) -> int | None:
        """The rank."""
        return self.rank
