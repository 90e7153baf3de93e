"""The trained predictor: residual energy of each neuron from cheap block features (our design)."""

from dataclasses import dataclass

import torch
from torch import Tensor


def features(x: Tensor, projection: Tensor, mean: Tensor) -> Tensor:
    """Per-token features [T, 2q]: z and z^2, z = projection (x - mean); they add up over a block."""
    z = (x.float() - mean) @ projection.T
    return torch.cat([z, z.square()], 1)


@dataclass
class Predictor:
    """Ranks neurons by predicted mean residual energy: prior * (1 + weights (features - centre)).

    projection [q, d], mean [d], centre [2q], weights [f, 2q], prior [f]; float32. One predictor serves every
    sparsity level.
    """

    projection: Tensor
    mean: Tensor
    centre: Tensor
    weights: Tensor
    prior: Tensor

    def block_features(self, x: Tensor) -> Tensor:
        """Mean features of blocks x [n, B, d] -> [n, 2q]."""
        n, size, d = x.shape
        return features(x.reshape(n * size, d), self.projection, self.mean).view(n, size, -1).mean(1)

    def scores(self, x: Tensor) -> Tensor:
        """Scores [n, f] of blocks x [n, B, d]."""
        relative = 1 + (self.block_features(x) - self.centre) @ self.weights.T
        return self.prior * relative.clamp_min(0.05)

    def flops(self, tokens: int) -> float:
        """FLOPs for one block of `tokens` tokens."""
        q, d = self.projection.shape
        return 2.0 * tokens * q * (d + 2) + 2.0 * self.weights.numel()


@dataclass
class EnergySums:
    """Sums over blocks for the ridge fit: features F [2q], F F^T, energies E [f], F E^T, block count; float64."""

    count: int
    f: Tensor
    ff: Tensor
    e: Tensor
    fe: Tensor

    @classmethod
    def zeros(cls, q: int, f: int) -> "EnergySums":
        """Empty sums for 2q features and f neurons."""
        return cls(0, *(torch.zeros(*shape, dtype=torch.float64)
                        for shape in ((2 * q,), (2 * q, 2 * q), (f,), (2 * q, f))))

    def add(self, block_features: Tensor, energies: Tensor) -> None:
        """Add blocks: features [n, 2q] and mean energies [n, f]."""
        self.count += block_features.shape[0]
        self.f += block_features.sum(0)
        self.e += energies.sum(0)
        self.ff += block_features.T @ block_features
        self.fe += block_features.T @ energies


def fit_predictor(sums: EnergySums, projection: Tensor, mean: Tensor, ridge: float = 0.3) -> Predictor:
    """Ridge regression of relative block energies on standardised block features.

    Features are scaled to unit variance over the calibration blocks; `ridge` is added to their correlation matrix.
    Raises ValueError when no block was collected.
    """
    if sums.count == 0:
        raise ValueError("fit: no calibration blocks were seen")
    n = sums.count
    centre, prior = sums.f / n, sums.e / n
    covariance = sums.ff / n - torch.outer(centre, centre)
    scale = covariance.diagonal().clamp_min(1e-12).sqrt()
    cross = (sums.fe / n - torch.outer(centre, prior)) / prior.clamp_min(1e-30)
    correlation = covariance / torch.outer(scale, scale)
    correlation += ridge * torch.eye(len(scale), dtype=torch.float64)
    solution = torch.linalg.solve(correlation, cross / scale[:, None]) / scale[:, None]
    return Predictor(projection, mean, centre.float(), solution.T.contiguous().float(), prior.float())
