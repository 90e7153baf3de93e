"""A low-rank map of the output alone: the paper's kind of compensator; the closed form is our
design.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ffbench.methods.compensators.affine import AffineState
from ffbench.methods.compensators.base import (
    Compensator,
    CompensatorState,
    FitInputs,
    OutputMap,
    compensator,
    random_output_map,
)
from ffbench.methods.linalg import leading_directions, whitening
from ffbench.methods.registry import at_least


@compensator
@dataclass(frozen=True)
class LowRank(Compensator):
    """y + b + V P x, fitted to what one fixed set of kept neurons leaves out."""

    name: ClassVar[str] = "lowrank"
    state_type: ClassVar[type[AffineState]] = AffineState
    closed_form: ClassVar[tuple[str, ...]] = ()
    refits_for_kept: ClassVar[bool] = True

    rank: int = 128

    def problems(self) -> list[str]:
        """A rank below 1."""
        return at_least("rank", self.rank, 1)

    def fit(self, inputs: FitInputs) -> AffineState:
        """Zeros: the map is fitted once the kept neurons are known."""
        d, f = inputs.moments.x.numel(), inputs.moments.a.numel()
        return AffineState.zeros(d, f, inputs.moments.x.device)

    def refit(self, state: CompensatorState, inputs: FitInputs, kept: Tensor) -> CompensatorState:
        """Minimises E |Wd_skipped a_skipped - b - V P x|^2 for the set `kept` [K]."""
        skipped = torch.ones(inputs.w_down.shape[1], dtype=torch.bool, device=kept.device)
        skipped[kept] = False
        down = inputs.w_down.double()[:, skipped]
        factor, cross, mean_x, mean_a = whitening(inputs.moments, 1e-4)
        rank = min(self.rank, len(mean_x))
        projection, left, half = leading_directions(factor, cross[:, skipped] @ down.T, rank)
        expansion = (left.T @ half).T  # [d, r]
        bias = down @ mean_a[skipped] - expansion @ (projection @ mean_x)
        return state.with_output_map(OutputMap(projection.float(), expansion.float(), bias.float()))

    def random_state(self, d: int, f: int, draw: Callable[..., Tensor]) -> AffineState:
        """A random map of the same rank."""
        return AffineState.zeros(d, f).with_output_map(random_output_map(self.rank, d, draw))
