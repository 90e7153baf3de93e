"""Skipped neurons count as their calibration mean: FLAP's repair (arXiv 2312.11983)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from ffbench.methods.compensators.affine import AffineState
from ffbench.methods.compensators.base import Compensator, FitInputs, compensator


@compensator
@dataclass(frozen=True)
class Bias(Compensator):
    """Skipped neurons count as their mean on calibration text (FLAP's bias repair)."""

    name: ClassVar[str] = "bias"
    state_type: ClassVar[type[AffineState]] = AffineState

    def fit(self, inputs: FitInputs) -> AffineState:
        """c_j = E a_j."""
        d, f = inputs.moments.x.numel(), inputs.moments.a.numel()
        empty = AffineState.zeros(d, f, inputs.moments.x.device)
        return replace(empty, mean=(inputs.moments.a / inputs.moments.count).float())

    def random_state(self, d: int, f: int, draw: Callable[..., Tensor]) -> AffineState:
        """A random mean."""
        return replace(AffineState.zeros(d, f), mean=draw(f))
