"""Closed-form estimates of FFN activations from FFN inputs (our design)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ffbench.sparsity.moments import Moments


@dataclass
class Surrogate:
    """a_hat = c + V P x, with P [r, d], V [f, r], c [f]; float32. Rank 0 is the mean (bias) or, with c = 0, none."""

    p: Tensor
    v: Tensor
    c: Tensor

    @property
    def rank(self) -> int:
        """Number of rows of P."""
        return self.p.shape[0]

    def estimate(self, x: Tensor) -> Tensor:
        """Estimated activations [T, f] of inputs x [T, d]."""
        return (x.float() @ self.p.T) @ self.v.T + self.c


def none_surrogate(d: int, f: int) -> Surrogate:
    """Estimate every activation by zero: no compensation."""
    return Surrogate(torch.zeros(0, d), torch.zeros(f, 0), torch.zeros(f))


def fit_mean(moments: Moments) -> Surrogate:
    """Estimate every activation by its calibration mean (the bias compensator; FLAP's repair)."""
    empty = none_surrogate(moments.x.numel(), moments.a.numel())
    return Surrogate(empty.p, empty.v, (moments.a / moments.count).float())


def fit_reduced_rank(moments: Moments, down_norms: Tensor, rank: int, ridge: float = 1e-4) -> Surrogate:
    """Reduced-rank ridge regression of a on x, weighted by the down columns' norms.

    Minimises E |D (a - c - V P x)|^2 with D = diag(down_norms [f]) over rank-`rank` maps: the ridge solution
    followed by the leading right singular vectors of its weighted fitted values (Izenman 1975).

    Raises ValueError when rank is not in 1..d or nothing was collected.
    """
    d = moments.x.numel()
    if not 1 <= rank <= d:
        raise ValueError(f"compensator.rank: {rank} is not in 1..{d} (the model's width)")
    if moments.count == 0:
        raise ValueError("collect: no calibration tokens were seen")
    n = moments.count
    mean_x, mean_a = moments.x / n, moments.a / n
    covariance = moments.xx / n - torch.outer(mean_x, mean_x)
    cross = moments.xa / n - torch.outer(mean_x, mean_a)
    covariance += ridge * covariance.diagonal().mean() * torch.eye(d, dtype=torch.float64)
    factor = torch.linalg.cholesky(covariance)
    weight = down_norms.double().clamp_min(1e-12)
    half = torch.linalg.solve_triangular(factor, cross * weight, upper=False)  # [d, f] whitened fitted values
    values, vectors = torch.linalg.eigh(half @ half.T)
    left = vectors[:, -rank:].flip(1)  # [d, r]
    p = torch.linalg.solve_triangular(factor.T, left, upper=True).T  # [r, d]: unit-variance features
    v = (left.T @ half).T / weight[:, None]  # [f, r]
    c = mean_a - v @ (p @ mean_x)
    return Surrogate(p.float(), v.float(), c.float())


def residual_energy(a: Tensor, estimate: Tensor, down_norms: Tensor) -> Tensor:
    """(a_j - a_hat_j)^2 |Wd_j|^2 per token and neuron, [T, f] (our design)."""
    return ((a.float() - estimate) * down_norms).square()
