"""Streaming first and second moments of FFN inputs and activations."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Moments:
    """Sums over tokens, float64: n, x [d], a [f], x x^T [d, d], x a^T [d, f]."""

    count: int
    x: Tensor
    a: Tensor
    xx: Tensor
    xa: Tensor

    @classmethod
    def zeros(cls, d: int, f: int) -> "Moments":
        """Empty sums for input width `d` and FFN width `f`."""
        kind = torch.float64
        return cls(0, torch.zeros(d, dtype=kind), torch.zeros(f, dtype=kind), torch.zeros(d, d, dtype=kind),
                   torch.zeros(d, f, dtype=kind))

    def add(self, x: Tensor, a: Tensor) -> None:
        """Add tokens: x [T, d] inputs, a [T, f] activations; products in float32, sums in float64."""
        x, a = x.float(), a.float()
        self.count += x.shape[0]
        self.x += x.sum(0)
        self.a += a.sum(0)
        self.xx += x.T @ x
        self.xa += x.T @ a
