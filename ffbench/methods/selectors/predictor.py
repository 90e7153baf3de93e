"""The trained predictor: each neuron's residual energy from a block's mean input (our design)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ffbench.methods.float32_products import linear
from ffbench.methods.linalg import Moments, truncated_svd
from ffbench.methods.tensors import NEURON, Axes, reordered

RIDGE = 0.1  # of the inputs' correlation; chosen on the tuning part (docs/experiments)
CLIP = 40.0  # relative energies above it are outliers of single tokens that a linear fit follows
LIMIT = 4.0  # of a log-score's shift: e^4 is beyond any real ratio to the prior


# means [n, d] of n blocks' inputs less a vector [d], rounded to a type
Means = Callable[[Tensor, torch.dtype], Tensor]


@dataclass
class Predictor:
    """Ranks neurons by predicted mean residual energy: prior * exp(weights (mean of x over the
    block - mean)).

    mean [d], weights [f, d], prior [f]. One predictor serves every sparsity level and block size.
    With a projection [r, d] the weights are [f, r] and read the projected inputs.
    """

    mean: Tensor
    weights: Tensor
    prior: Tensor
    projection: Tensor | None = None

    full_axes: ClassVar[Axes] = {
        "mean": ("input",),
        "weights": (NEURON, "input"),
        "prior": (NEURON,),
    }
    low_rank_axes: ClassVar[Axes] = {
        "mean": ("input",),
        "weights": (NEURON, "rank"),
        "prior": (NEURON,),
        "projection": ("rank", "input"),
    }

    @property
    def axes(self) -> Axes:
        """Axes of `tensors()`."""
        return self.full_axes if self.projection is None else self.low_rank_axes

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return {name: getattr(self, name) for name in self.axes}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Predictor":
        """The predictor that `tensors()` gave. Raises KeyError naming a tensor that is missing."""
        projection = tensors.get("projection")
        return cls(**{name: tensors[name] for name in cls.full_axes}, projection=projection)

    def of_rank(self, rank: int | None) -> "Predictor":
        """The same predictor with a projection, by the truncated SVD of its weights; as it is for
        None. Ranks above the width of the inputs give that width.
        """
        if rank is None:
            return self
        left, right = truncated_svd(self.weights, min(rank, *self.weights.shape))
        dtype = self.weights.dtype
        return Predictor(self.mean, left.to(dtype), self.prior, right.to(dtype))

    def permuted(self, order: Tensor) -> "Predictor":
        """The same predictor with neurons in the given order [f]."""
        return Predictor(
            **{n: reordered(getattr(self, n), axes, order) for n, axes in self.axes.items()}
        )

    def to(self, device: torch.device) -> "Predictor":
        """The same predictor on a device."""
        return Predictor(**{name: value.to(device) for name, value in self.tensors().items()})

    def scores(self, blocks: Tensor) -> Tensor:
        """Scores [n, f] of blocks [n, B, d]."""
        return self.prior * self.shift(blocks, self.weights).exp()

    def shift(self, blocks: Tensor, weights: Tensor) -> Tensor:
        """Logarithms [n, f] of what blocks [n, B, d] change in the prior, by `weights` [f, d] or
        [f, r] in place of its own.
        """
        inputs = blocks.mean(1, dtype=torch.float32) - self.mean
        if self.projection is not None:
            inputs = product(inputs, self.projection)
        return product(inputs, weights).clamp(-LIMIT, LIMIT)

    def logs(self, means: Means) -> Tensor:
        """What `shift` gives before it is cut, [n, f] in the weights' type, as are the products."""
        inputs = means(self.mean, self.weights.dtype)
        if self.projection is not None:
            inputs = inputs @ self.projection.T
        return inputs @ self.weights.T

    def flops(self, tokens: int) -> float:
        """FLOPs for one block of `tokens` tokens."""
        d, parts = len(self.mean), (self.weights, self.projection)
        return float(tokens * d + 2 * sum(part.numel() for part in parts if part is not None))


def product(x: Tensor, matrix: Tensor) -> Tensor:
    """X matrix^T [n, m], float32; x [n, k] float32, matrix [m, k].

    On a card half types are multiplied as they are: a float32 copy of an 8B model's predictor
    would cost more time than the product.
    """
    if matrix.device.type == "cpu":
        return linear(x, matrix.float())
    return (x.to(matrix.dtype) @ matrix.T).float()


@dataclass
class EnergySums:
    """Sums over tokens for the fit, float64: e [f], r [f], x r^T [d, f].

    e is the residual energy of each neuron, r = min(e / scale, CLIP) with `scale` [f] near the mean
    of e. The sums over the inputs alone are those of `Moments` over the same tokens.
    """

    scale: Tensor
    e: Tensor
    r: Tensor
    xr: Tensor

    @classmethod
    def zeros(cls, d: int, scale: Tensor) -> "EnergySums":
        """Empty sums for inputs of width `d` and neurons of the given energy scale [f]."""
        f, device = len(scale), scale.device
        sums = (
            torch.zeros(*shape, dtype=torch.float64, device=device)
            for shape in ((f,), (f,), (d, f))
        )
        return cls(scale.clamp_min(1e-30), *sums)

    def add(self, x: Tensor, energy: Tensor) -> None:
        """Add tokens: inputs x [T, d] and residual energies [T, f]; products in float32, sums in
        float64.
        """
        relative = (energy / self.scale).clamp_max(CLIP)
        self.e += energy.sum(0)
        self.r += relative.sum(0)
        self.xr += linear(x.float().T, relative.T)


def fit_predictor(moments: Moments, sums: EnergySums, ridge: float = RIDGE) -> Predictor:
    """Ridge regression of relative token energies on standardised inputs; the slope is used as a
    log-slope.

    A block's energy is the sum over its tokens, so a linear map fitted on tokens applies to the
    block's mean input, and learns from as many samples as there are tokens. `ridge` is added to the
    inputs' correlation matrix. Raises ValueError if nothing was collected.
    """
    n = moments.count
    if n == 0:
        raise ValueError("fit: no calibration tokens were seen")
    mean, relative = moments.x / n, sums.r / n
    covariance = moments.xx / n - torch.outer(mean, mean)
    scale = covariance.diagonal().clamp_min(1e-12).sqrt()
    cross = (sums.xr / n - torch.outer(mean, relative)) / scale[:, None]
    identity = torch.eye(len(scale), dtype=torch.float64, device=scale.device)
    correlation = covariance / torch.outer(scale, scale) + ridge * identity
    slope = torch.linalg.solve(correlation, cross) / scale[:, None]
    return Predictor(mean.float(), slope.T.contiguous().half(), (sums.e / n).float())
