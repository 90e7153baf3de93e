"""A cheap scalar per token that predicts how much residual energy its FFN leaves (our design).

How many neurons a token gets is worth more than which ones: tokens sorted by this scalar form
blocks that need many neurons and blocks that need few.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ffbench.methods.float32_products import linear
from ffbench.methods.tensors import Axes

if TYPE_CHECKING:
    from ffbench.methods.plan import LayerPlan

RIDGE = 1e-3  # of the correlation of standardised features
LEAST = 0.05  # of the mean: no token is predicted to need nothing
CLIP = 20.0  # relative energies of single outlier tokens that a linear fit would follow

SCALE_AXES: Axes = {
    "scale_linear": ("input",),
    "scale_square": ("rank",),
    "scale_log": ("scalar",),
    "scale_bias": ("scalar",),
}


def scale_features(x: Tensor, z: Tensor) -> Tensor:
    """Features [T, d + r + 1] of tokens x [T, d] with the compensator's features z [T, r]: x, z^2
    and log |x|^2, float32.
    """
    x, z = x.float(), z.float()
    size = x.square().sum(1, keepdim=True).clamp_min(1e-12).log()
    return torch.cat([x, z.square(), size], 1)


@dataclass
class ScaleSums:
    """Sums for the regression of a token's residual energy on its features, float64."""

    count: int
    features: Tensor
    squares: Tensor
    energy: Tensor
    cross: Tensor

    @classmethod
    def zeros(cls, width: int, device: torch.device) -> "ScaleSums":
        """Empty sums for `width` features."""
        shapes = ((width,), (width, width), (), (width,))
        sums = (torch.zeros(shape, dtype=torch.float64, device=device) for shape in shapes)
        return cls(0, *sums)

    def add(self, features: Tensor, energy: Tensor) -> None:
        """Add tokens: features [T, q] and each token's residual energy over the mean, [T]; products
        in float32, sums in float64.
        """
        energy = energy.clamp_max(CLIP).double()
        wide, features = features.double(), features.float()
        self.count += len(features)
        self.features += wide.sum(0)
        self.squares += linear(features.T, features.T)
        self.energy += energy.sum()
        self.cross += wide.T @ energy


def fit_scale(sums: ScaleSums, d: int) -> dict[str, Tensor]:
    """Ridge regression on standardised features; the tensors of SCALE_AXES, float32."""
    n = sums.count
    mean, level = sums.features / n, sums.energy / n
    covariance = sums.squares / n - torch.outer(mean, mean)
    spread = covariance.diagonal().clamp_min(1e-12).sqrt()
    identity = torch.eye(len(spread), dtype=torch.float64, device=spread.device)
    correlation = covariance / torch.outer(spread, spread) + RIDGE * identity
    slope = torch.linalg.solve(correlation, (sums.cross / n - mean * level) / spread) / spread
    bias = level - slope @ mean
    return {
        "scale_linear": slope[:d].float(),
        "scale_square": slope[d:-1].float(),
        "scale_log": slope[-1:].float(),
        "scale_bias": bias.reshape(1).float(),
    }


def token_scale(layer: "LayerPlan", x: Tensor, z: Tensor) -> Tensor:
    """Predicted residual energy over the mean, [T], of tokens x [T, d] with features z [T, r]."""
    s, x = layer.statistics, x.float()
    # `scale_features` times the weights, without a copy of x
    size = torch.linalg.vector_norm(x, dim=1).clamp_min(1e-6).log() * 2
    linear, square = x @ s["scale_linear"], z.float().square() @ s["scale_square"]
    return (linear + square + size * s["scale_log"] + s["scale_bias"]).clamp_min(LEAST)


def scale_flops(d: int, rank: int) -> float:
    """FLOPs per token of the scalar, given z."""
    return 4.0 * d + 3.0 * rank
