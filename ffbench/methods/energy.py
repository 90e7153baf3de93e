"""Residual energy: what skipping a neuron costs at the FFN's output."""

from torch import Tensor


def residual_energy(a: Tensor, estimate: Tensor, down_norms: Tensor) -> Tensor:
    """(a_j - a_hat_j)^2 |Wd_j|^2 per token and neuron, [T, f], float32 (our design)."""
    return ((a.float() - estimate) * down_norms).square()
