"""Moments of FFN inputs and activations, reduced-rank regression, and truncated SVD."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ffbench.methods.float32_products import linear

OVERSAMPLE = 16  # extra directions of the randomised SVD; Halko et al. suggest 5 to 10
WIDE = 1024  # inputs of a layer, above which a full decomposition takes too long
ITERATIONS = 8  # of subspace iteration: the spectra of FFN weights fall slowly


@dataclass
class Moments:
    """Sums over tokens, float64: n, x [d], a [f], a^2 [f], x x^T [d, d], x a^T [d, f]."""

    count: int
    x: Tensor
    a: Tensor
    aa: Tensor
    xx: Tensor
    xa: Tensor

    @classmethod
    def zeros(cls, d: int, f: int, device: torch.device | None = None) -> "Moments":
        """Empty sums for input width `d` and target width `f`, on `device`."""
        shapes = ((d,), (f,), (f,), (d, d), (d, f))
        return cls(0, *(torch.zeros(*s, dtype=torch.float64, device=device) for s in shapes))

    def add(self, x: Tensor, a: Tensor) -> None:
        """Add tokens: x [T, d] inputs, a [T, f] activations; products in float32, sums in
        float64.
        """
        x, a = x.float(), a.float()
        self.count += x.shape[0]
        self.x += x.sum(0)
        self.a += a.sum(0)
        self.aa += a.square().sum(0)
        self.xx += linear(x.T, x.T)
        self.xa += linear(x.T, a.T)


def whitening(moments: Moments, ridge: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cholesky factor [d, d] of the ridged input covariance, cross-covariance [d, f], means of x
    and a.
    """
    if moments.count == 0:
        raise ValueError("collect: no calibration tokens were seen")
    n = moments.count
    mean_x, mean_a = moments.x / n, moments.a / n
    covariance = moments.xx / n - torch.outer(mean_x, mean_x)
    cross = moments.xa / n - torch.outer(mean_x, mean_a)
    covariance += (
        ridge
        * covariance.diagonal().mean()
        * torch.eye(len(mean_x), dtype=torch.float64, device=mean_x.device)
    )
    return torch.linalg.cholesky(covariance), cross, mean_x, mean_a


def leading_directions(factor: Tensor, cross: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """P [r, d] of unit-variance features, their whitened directions [d, r], and the whitened
    targets [d, m].

    Above WIDE inputs the directions come from subspace iteration: all d of them, which a full
    decomposition finds, would take most of a fit's time.
    """
    half = torch.linalg.solve_triangular(factor, cross, upper=False)
    if len(half) > WIDE and 4 * (rank + OVERSAMPLE) <= min(half.shape):
        left = randomised_svd(half, rank)[0]
    else:
        left = torch.linalg.eigh(half @ half.T).eigenvectors[:, -rank:].flip(1)
    return torch.linalg.solve_triangular(factor.T, left, upper=True).T, left, half


def truncated_svd(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors left [m, r] and right [r, n] of weight [m, n], float32: its truncated SVD, by
    randomised subspace iteration (Halko, Martinsson, Tropp 2011) with a fixed seed.

    Raises ValueError when the rank is not in 1..min(m, n).
    """
    if not 1 <= rank <= min(weight.shape):
        raise ValueError(f"rank: {rank} is not in 1..{min(weight.shape)}")
    u, s, v = randomised_svd(weight.float(), rank)
    return u * s, v.T.contiguous()


def randomised_svd(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """U [m, r], s [r] and V [n, r] of the leading singular values of a matrix [m, n], in its
    dtype.
    """
    device = matrix.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        u, s, v = torch.svd_lowrank(matrix, min(rank + OVERSAMPLE, *matrix.shape), ITERATIONS)
    return u[:, :rank], s[:rank], v[:, :rank]
