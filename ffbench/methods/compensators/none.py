"""No compensation: skipped neurons count as zero."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ffbench.methods.compensators.affine import AffineState
from ffbench.methods.compensators.base import Compensator, FitInputs, compensator


@compensator
@dataclass(frozen=True)
class NoCompensator(Compensator):
    """Skipped neurons count as zero."""

    name: ClassVar[str] = "none"
    compensates: ClassVar[bool] = False
    state_type: ClassVar[type[AffineState]] = AffineState

    def fit(self, inputs: FitInputs) -> AffineState:
        """Zeros."""
        d, f = inputs.moments.x.numel(), inputs.moments.a.numel()
        return AffineState.zeros(d, f, inputs.moments.x.device)

    def random_state(self, d: int, f: int, draw: Callable[..., Tensor]) -> AffineState:
        """Zeros."""
        return AffineState.zeros(d, f)
