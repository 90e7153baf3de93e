"""Coordinates in which a step of one size means the same change of the output everywhere (our
design).
"""

import torch
from torch import Tensor

from ffbench.training.tuning.trainable_ffn import TrainableFFN

READS_INPUT = ("projection", "output_map.projection")


class Whitened:
    """Leaf tensors that one layer's parameters are made of.

    What reads the FFN's input x with E x x^T = L L^T is held as P L: it reads inputs without
    correlation. What belongs to a neuron is held times the length of its down column. The others
    are held as they are.
    """

    def __init__(self, layer: TrainableFFN, factor: Tensor) -> None:
        self.layer = layer
        identity = torch.eye(len(factor), dtype=torch.float64, device=factor.device)
        inverse = torch.linalg.solve_triangular(factor.double(), identity, upper=False)
        self.inverse = inverse.float()
        lengths = layer.norms.clamp_min(1e-12)
        self.lengths = {"activation_map": lengths[:, None], "mean": lengths}
        self.leaves = {
            name: self._held(name, value.detach(), factor).clone().requires_grad_()
            for name, value in layer.parameters.items()
        }

    def _held(self, name: str, value: Tensor, factor: Tensor) -> Tensor:
        if name in READS_INPUT:
            return value @ factor
        return value * self.lengths[name] if name in self.lengths else value

    def _used(self, name: str, leaf: Tensor) -> Tensor:
        if name in READS_INPUT:
            return leaf @ self.inverse
        return leaf / self.lengths[name] if name in self.lengths else leaf

    def apply(self) -> None:
        """Give the layer the parameters that the leaves stand for now."""
        self.layer.set({name: self._used(name, leaf) for name, leaf in self.leaves.items()})
