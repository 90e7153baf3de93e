"""An estimate of the activations that is affine in the FFN's input: a_hat = c + V P x (our
design).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ffbench.methods.compensators.base import Act, CompensatorState, Runtime
from ffbench.methods.compensators.joined import JoinedRuntime
from ffbench.methods.float32_products import linear
from ffbench.methods.groups import Kept
from ffbench.methods.linalg import Moments
from ffbench.methods.tensors import NEURON, Axes


@dataclass(frozen=True)
class AffineRuntime(Runtime):
    """The affine estimate at run time.

    projection P [r, d]; skipped_map Wd V [d, r] and skipped_mean Wd c [d] sum over the dynamic
    neurons, so that the estimate of all of them costs two small products per token.
    """

    projection: Tensor | None = None
    skipped_map: Tensor | None = None
    skipped_mean: Tensor | None = None

    def features(self, x: Tensor) -> Tensor | None:
        """Z = P x [T, r], or None for an estimate that does not depend on x."""
        return None if self.projection is None else linear(x, self.projection)

    def add_skipped(
        self, y: Tensor, x: Tensor, z: Tensor | None, kept: Kept, block_size: int
    ) -> Tensor:
        """Y + Wd c + Wd V z over the dynamic neurons; the kernel has taken the kept ones off."""
        if self.skipped_mean is None:
            return y
        if z is None or self.skipped_map is None:
            return y.add_(self.skipped_mean)
        return y.add_(linear(z, self.skipped_map, self.skipped_mean))

    def joined(self) -> Runtime:
        """The estimate of skipped neurons and the output map as one; itself without features."""
        inner, outer, biases = [], [], []
        if self.projection is not None and self.skipped_map is not None:
            inner.append(self.projection)
            outer.append(self.skipped_map)
        if self.skipped_mean is not None:
            biases.append(self.skipped_mean.float())
        if self.output_map is not None:
            inner.append(self.output_map.projection)
            outer.append(self.output_map.expansion)
            biases.append(self.output_map.bias.float())
        if not inner:
            return self
        bias = torch.stack(biases).sum(0)
        return JoinedRuntime.of(self, torch.cat(inner), torch.cat(outer, 1), bias)


@dataclass(frozen=True, kw_only=True)
class AffineState(CompensatorState):
    """a_hat = c + V P x: projection P [r, d], activation_map V [f, r], mean c [f]."""

    projection: Tensor
    activation_map: Tensor
    mean: Tensor

    axes: ClassVar[Axes] = {
        "projection": ("rank", "input"),
        "activation_map": (NEURON, "rank"),
        "mean": (NEURON,),
    }

    @classmethod
    def zeros(cls, d: int, f: int, device: torch.device | None = None) -> "AffineState":
        """Every activation is estimated by zero: no compensation."""
        return cls(
            projection=torch.zeros(0, d, device=device),
            activation_map=torch.zeros(f, 0, device=device),
            mean=torch.zeros(f, device=device),
        )

    @property
    def rank(self) -> int:
        """Rows of P."""
        return self.projection.shape[0]

    @property
    def feature_width(self) -> int:
        """Rows of P: the features z = P x."""
        return self.rank

    def features(self, x: Tensor) -> Tensor:
        """Z = P x, float32."""
        return linear(x.float(), self.projection)

    def estimate(self, x: Tensor) -> Tensor:
        """C + V P x, float32."""
        return linear(linear(x.float(), self.projection), self.activation_map, self.mean)

    def explained_energy(self, moments: Moments) -> Tensor:
        """Energy of the mean and of the unit-variance features; exact without ridge."""
        if self.rank == 0 and not self.mean.any():
            return torch.zeros_like(moments.aa)
        mean = moments.a / moments.count
        return mean.square() + self.activation_map.double().square().sum(1)

    def runtime(self, w_down_t: Tensor, hot: int, act: Act) -> AffineRuntime:
        """Sums over the dynamic neurons are made here, once, in float32."""
        dtype, device = w_down_t.dtype, w_down_t.device
        output_map = self.output_map.to(dtype, device) if self.output_map else None
        if self.rank == 0 and not self.mean.any():
            return AffineRuntime(output_map)
        down = w_down_t[hot:].float().T
        v, c = self.activation_map.to(device), self.mean.to(device)
        return AffineRuntime(
            output_map=output_map,
            activation_map=v.to(dtype) if self.rank else None,
            mean=c.to(dtype),
            projection=self.projection.to(device, dtype) if self.rank else None,
            skipped_map=(down @ v[hot:]).to(dtype) if self.rank else None,
            skipped_mean=(down @ c[hot:]).to(dtype),
        )

    def flops(self, d: int, kept: int, hot: int) -> float:
        """P x, Wd V z and V z of the kept dynamic neurons, and the output map."""
        estimate = 4.0 * d * self.rank + 2.0 * self.rank * (kept - hot)
        return estimate + super().flops(d, kept, hot)
