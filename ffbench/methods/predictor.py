"""The trained predictor: each neuron's residual energy from a block's mean input (our design)."""

from dataclasses import dataclass

import torch
from torch import Tensor

RIDGE = 0.1
CLIP = 40.0
LIMIT = 4.0


@dataclass
class Predictor:
    """Ranks neurons by predicted mean residual energy: prior * exp(weights (mean of x over the
    block - mean)).

    mean [d], weights [f, d], prior [f]. One predictor serves every sparsity level and block size.
    """

    mean: Tensor
    weights: Tensor
    prior: Tensor

    def scores(self, blocks: Tensor) -> Tensor:
        """Scores [n, f] of blocks [n, B, d]."""
        return self.prior * self.shift(blocks, self.weights).exp()

    def shift(self, blocks: Tensor, weights: Tensor) -> Tensor:
        """Logarithms [n, f] of what blocks [n, B, d] change in the prior, by `weights` [f, d] in
        place of its own.
        """
        return ((blocks.mean(1, dtype=torch.float32) - self.mean) @ weights.float().T).clamp(
            -LIMIT, LIMIT
        )

    def flops(self, tokens: int) -> float:
        """FLOPs for one block of `tokens` tokens."""
        f, d = self.weights.shape
        return float(tokens * d + 2 * f * d)


@dataclass
class EnergySums:
    """Sums over tokens for the fit, float64: count, x [d], x x^T [d, d], e [f], r [f], x r^T [d,
    f].

    e is the residual energy of each neuron, r = min(e / scale, CLIP) with `scale` [f] near the mean
    of e.
    """

    scale: Tensor
    count: int
    x: Tensor
    xx: Tensor
    e: Tensor
    r: Tensor
    xr: Tensor

    @classmethod
    def zeros(cls, d: int, scale: Tensor) -> "EnergySums":
        """Empty sums for inputs of width `d` and neurons of the given energy scale [f]."""
        kind, f = torch.float64, len(scale)
        shapes = ((d,), (d, d), (f,), (f,), (d, f))
        return cls(
            scale.clamp_min(1e-30), 0, *(torch.zeros(*shape, dtype=kind) for shape in shapes)
        )

    def add(self, x: Tensor, energy: Tensor) -> None:
        """Add tokens: inputs x [T, d] and residual energies [T, f]; products in float32, sums in
        float64.
        """
        x, relative = x.float(), (energy / self.scale).clamp_max(CLIP)
        self.count += len(x)
        self.x += x.sum(0)
        self.xx += x.T @ x
        self.e += energy.sum(0)
        self.r += relative.sum(0)
        self.xr += x.T @ relative


def fit_predictor(sums: EnergySums, ridge: float = RIDGE) -> Predictor:
    """Ridge regression of relative token energies on standardised inputs; the slope is used as a
    log-slope.

    A block's energy is the sum over its tokens, so a linear map fitted on tokens applies to the
    block's mean input, and learns from as many samples as there are tokens. `ridge` is added to the
    inputs' correlation matrix. Raises ValueError when nothing was collected.
    """
    if sums.count == 0:
        raise ValueError("fit: no calibration tokens were seen")
    n = sums.count
    mean, relative = sums.x / n, sums.r / n
    covariance = sums.xx / n - torch.outer(mean, mean)
    scale = covariance.diagonal().clamp_min(1e-12).sqrt()
    cross = (sums.xr / n - torch.outer(mean, relative)) / scale[:, None]
    correlation = covariance / torch.outer(scale, scale) + ridge * torch.eye(
        len(scale), dtype=torch.float64
    )
    slope = torch.linalg.solve(correlation, cross) / scale[:, None]
    return Predictor(mean.float(), slope.T.contiguous().half(), (sums.e / n).float())
