"""Streaming first and second moments of FFN inputs and activations."""

from dataclasses import dataclass

import torch
from torch import Tensor


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
    def zeros(cls, d: int, f: int) -> "Moments":
        """Empty sums for input width `d` and FFN width `f`."""
        shapes = ((d,), (f,), (f,), (d, d), (d, f))
        return cls(0, *(torch.zeros(*shape, dtype=torch.float64) for shape in shapes))

    def add(self, x: Tensor, a: Tensor) -> None:
        """Add tokens: x [T, d] inputs, a [T, f] activations; products in float32, sums in
        float64.
        """
        x, a = x.float(), a.float()
        self.count += x.shape[0]
        self.x += x.sum(0)
        self.a += a.sum(0)
        self.aa += a.square().sum(0)
        self.xx += x.T @ x
        self.xa += x.T @ a
