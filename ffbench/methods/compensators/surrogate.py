"""A low-rank estimate of the activations, with an optional map of the output (our design)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ffbench.methods.compensators.affine import AffineState
from ffbench.methods.compensators.base import (
    Compensator,
    FitInputs,
    Refinements,
    compensator,
    random_output_map,
)
from ffbench.methods.linalg import Moments, leading_directions, whitening
from ffbench.methods.registry import at_least

LEAST_WEIGHT = 0.05  # of neurons that are hardly ever skipped, so that no fit is singular


@compensator
@dataclass(frozen=True)
class Surrogate(Compensator):
    """a_hat = c + V P x of a rank, and a low-rank map of the output fitted to what remains.

    rank: of the estimate. output_map_rank: of a map of the output that is fitted to the residual of
    the plan's own choice of neurons (0: none). tune_steps: steps of tuning through the model.
    """

    name: ClassVar[str] = "surrogate"
    state_type: ClassVar[type[AffineState]] = AffineState
    closed_form: ClassVar[tuple[str, ...]] = ("rank",)

    rank: int = 64
    output_map_rank: int = 0
    tune_steps: int = 0

    def problems(self) -> list[str]:
        """Ranks and steps below their least values."""
        return [
            *at_least("rank", self.rank, 1),
            *at_least("output_map_rank", self.output_map_rank, 0),
            *at_least("tune_steps", self.tune_steps, 0),
        ]

    @property
    def has_features(self) -> bool:
        """The estimate's features z = P x."""
        return True

    def refinements(self) -> Refinements:
        """The output map and the tuning steps."""
        return Refinements(self.output_map_rank, self.tune_steps)

    def fit(self, inputs: FitInputs) -> AffineState:
        """Reduced-rank regression, twice: the second time neurons count by how often they are
        skipped after the first.
        """
        moments, norms = inputs.moments, inputs.down_norms
        first = fit_reduced_rank(moments, norms, self.rank)
        energy = first.expected_energy(moments, norms)
        often = skip_weights(energy)
        return fit_reduced_rank(moments, norms * often.sqrt(), self.rank)

    def size_problems(self, d: int, f: int) -> list[str]:
        """A rank above the model's width. Ranks of the output map are cut to it."""
        return [rank_problem(self.rank, d)] if self.rank > d else []

    def random_state(self, d: int, f: int, draw: Callable[..., Tensor]) -> AffineState:
        """Random factors of the same ranks."""
        return AffineState(
            projection=draw(self.rank, d),
            activation_map=draw(f, self.rank),
            mean=draw(f),
            output_map=random_output_map(self.output_map_rank, d, draw),
        )


def rank_problem(rank: int, d: int) -> str:
    """Why a rank does not fit a width d."""
    return f"compensator.rank: {rank} is not in 1..{d} (the model's width)"


def fit_reduced_rank(
    moments: Moments, weights: Tensor, rank: int, ridge: float = 1e-4
) -> AffineState:
    """Reduced-rank ridge regression of a on x with one weight per neuron.

    Minimises E |D (a - c - V P x)|^2 with D = diag(weights [f]) over rank-`rank` maps: the ridge
    solution followed by the leading right singular vectors of its weighted fitted values (Izenman
    1975). Raises ValueError if rank is not in 1..d or nothing was collected.
    """
    d = moments.x.numel()
    if not 1 <= rank <= d:
        raise ValueError(rank_problem(rank, d))
    weight = weights.double().clamp_min(1e-12)
    factor, cross, mean_x, mean_a = whitening(moments, ridge)
    projection, left, half = leading_directions(factor, cross * weight, rank)
    activation_map = (left.T @ half).T / weight[:, None]  # [f, r]
    mean = mean_a - activation_map @ (projection @ mean_x)
    return AffineState(
        projection=projection.float(), activation_map=activation_map.float(), mean=mean.float()
    )


def skip_weights(energy: Tensor) -> Tensor:
    """About how often a neuron is skipped, [f] from LEAST_WEIGHT to 1, by the rank of its residual
    energy [f] (our design).

    The quarter with most energy is kept by nearly every block at any sparsity in use and needs no
    estimate; the half after it ramps up to 1. One fit serves every sparsity, so the ramp does not
    depend on it.
    """
    place = energy.argsort(descending=True).argsort().float() / len(energy)
    return ((place - 0.25) / 0.5).clamp(LEAST_WEIGHT, 1.0)
