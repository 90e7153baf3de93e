"""Closed-form estimates of FFN activations from FFN inputs (our design)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ffbench.methods.moments import Moments

LEAST = 0.05  # weight of neurons that are hardly ever skipped


@dataclass
class Surrogate:
    """a_hat = c + V P x, with P [r, d], V [f, r], c [f]; float32. Rank 0 is the mean (bias) or,
    with c = 0, none.
    """

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


@dataclass
class OutputMap:
    """A mask-blind correction of the output: y + b + U P x, with P [r, d], U [d, r], b [d];
    float32.
    """

    p: Tensor
    u: Tensor
    b: Tensor


def none_surrogate(d: int, f: int) -> Surrogate:
    """Estimate every activation by zero: no compensation."""
    return Surrogate(torch.zeros(0, d), torch.zeros(f, 0), torch.zeros(f))


def fit_mean(moments: Moments) -> Surrogate:
    """Estimate every activation by its calibration mean (the bias compensator; FLAP's repair)."""
    empty = none_surrogate(moments.x.numel(), moments.a.numel())
    return Surrogate(empty.p, empty.v, (moments.a / moments.count).float())


def fit_reduced_rank(
    moments: Moments, down_norms: Tensor, rank: int, ridge: float = 1e-4
) -> Surrogate:
    """Reduced-rank ridge regression of a on x, weighted by the down columns' norms.

    Minimises E |D (a - c - V P x)|^2 with D = diag(down_norms [f]) over rank-`rank` maps: the ridge
    solution followed by the leading right singular vectors of its weighted fitted values (Izenman
    1975).

    Raises ValueError when rank is not in 1..d or nothing was collected.
    """
    d = moments.x.numel()
    if not 1 <= rank <= d:
        raise ValueError(f"compensator.rank: {rank} is not in 1..{d} (the model's width)")
    weight = down_norms.double().clamp_min(1e-12)
    factor, cross, mean_x, mean_a = whitening(moments, ridge)
    p, left, half = leading_directions(factor, cross * weight, rank)
    v = (left.T @ half).T / weight[:, None]  # [f, r]
    c = mean_a - v @ (p @ mean_x)
    return Surrogate(p.float(), v.float(), c.float())


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
    covariance += ridge * covariance.diagonal().mean() * torch.eye(len(mean_x), dtype=torch.float64)
    return torch.linalg.cholesky(covariance), cross, mean_x, mean_a


def leading_directions(factor: Tensor, cross: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """P [r, d] of unit-variance features, their whitened directions [d, r], and the whitened
    targets [d, m].
    """
    half = torch.linalg.solve_triangular(factor, cross, upper=False)
    left = torch.linalg.eigh(half @ half.T).eigenvectors[:, -rank:].flip(1)
    return torch.linalg.solve_triangular(factor.T, left, upper=True).T, left, half


def skip_weights(energy: Tensor) -> Tensor:
    """About how often a neuron is skipped, [f] from LEAST to 1, by the rank of its residual energy
    [f] (our design).

    The quarter with most energy is kept by nearly every block at any sparsity in use and needs no
    estimate; the half after it ramps up to 1. One fit serves every sparsity, so the ramp does not
    depend on it.
    """
    place = energy.argsort(descending=True).argsort().float() / len(energy)
    return ((place - 0.25) / 0.5).clamp(LEAST, 1.0)


def fit_for_skipped(moments: Moments, down_norms: Tensor, rank: int) -> Surrogate:
    """`fit_reduced_rank`, twice: the second time neurons count by how often they are skipped after
    the first.
    """
    first = fit_reduced_rank(moments, down_norms, rank)
    often = skip_weights(expected_energy(moments, first, down_norms))
    return fit_reduced_rank(moments, down_norms * often.sqrt(), rank)


def fit_mask_blind(
    moments: Moments, w_down: Tensor, kept: Tensor, rank: int, ridge: float = 1e-4
) -> OutputMap:
    """Low-rank map from x to what the neurons outside `kept` would have added (the paper's kind of
    compensator).

    Minimises E |Wd_skipped a_skipped - b - U P x|^2 for one fixed set of kept neurons; our closed
    form. At run time it does not know which neurons a block skipped. w_down [d, f], kept: indices.
    """
    skipped = torch.ones(w_down.shape[1], dtype=torch.bool)
    skipped[kept] = False
    down = w_down.double()[:, skipped]
    factor, cross, mean_x, mean_a = whitening(moments, ridge)
    p, left, half = leading_directions(factor, cross[:, skipped] @ down.T, min(rank, len(mean_x)))
    u = (left.T @ half).T  # [d, r]
    b = down @ mean_a[skipped] - u @ (p @ mean_x)
    return OutputMap(p.float(), u.float(), b.float())


def fit_output_map(moments: Moments, rank: int, ridge: float = 1e-3) -> OutputMap:
    """Low-rank map from x [d] to what is missing in the output [d], from moments whose `a` is that
    (our design).

    Minimises E |missing - b - U P x|^2 by reduced-rank ridge regression; ranks above d give the
    whole map, rank d. Raises ValueError for a rank below 1.
    """
    if rank < 1:
        raise ValueError(f"compensator.map_rank: {rank} is too small; choose 1 or more")
    factor, cross, mean_x, mean_missing = whitening(moments, ridge)
    p, left, half = leading_directions(factor, cross, min(rank, len(mean_x)))
    u = (left.T @ half).T  # [d, r]
    return OutputMap(
        p.float().contiguous(), u.float().contiguous(), (mean_missing - u @ (p @ mean_x)).float()
    )


def expected_energy(moments: Moments, surrogate: Surrogate, down_norms: Tensor) -> Tensor:
    """Mean residual energy [f] over the fitted tokens, from the moments alone: a scale, exact
    without ridge.
    """
    n = moments.count
    if surrogate.rank == 0 and not surrogate.c.any():
        second = moments.aa / n
    else:
        second = moments.aa / n - (moments.a / n).square() - surrogate.v.double().square().sum(1)
    return (second.clamp_min(1e-3 * moments.aa / n) * down_norms.double().square()).float()


def residual_energy(a: Tensor, estimate: Tensor, down_norms: Tensor) -> Tensor:
    """(a_j - a_hat_j)^2 |Wd_j|^2 per token and neuron, [T, f] (our design)."""
    return ((a.float() - estimate) * down_norms).square()
