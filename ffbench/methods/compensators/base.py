"""What a compensator is: how it is fitted, what it gives the kernel and what it adds outside."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ffbench.methods.float32_products import linear
from ffbench.methods.groups import Kept
from ffbench.methods.linalg import Moments
from ffbench.methods.registry import Method, Registry
from ffbench.methods.tensors import Axes, reordered

Act = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FitInputs:
    """What the closed form of one layer may look at.

    moments: sums over calibration tokens of the FFN's inputs and activations; w_gate, w_up [f, d],
    w_down [d, f]; down_norms [f]: lengths of the down columns.
    """

    moments: Moments
    w_gate: Tensor
    w_up: Tensor
    w_down: Tensor
    down_norms: Tensor


@dataclass(frozen=True)
class OutputMap:
    """A correction of the output that does not know which neurons a block skipped.

    y + bias + V P x with projection P [rank, d], expansion V [d, rank] and bias [d], float32.
    """

    projection: Tensor
    expansion: Tensor
    bias: Tensor

    axes: ClassVar[Axes] = {
        "projection": ("map_rank", "input"),
        "expansion": ("output", "map_rank"),
        "bias": ("output",),
    }

    def to(self, dtype: torch.dtype, device: torch.device) -> "OutputMap":
        """The same map in another dtype on a device."""
        return OutputMap(
            self.projection.to(device, dtype),
            self.expansion.to(device, dtype),
            self.bias.to(device, dtype),
        )

    def of(self, x: Tensor) -> Tensor:
        """What the map adds to the output, [T, d], for inputs x [T, d]."""
        return linear(linear(x, self.projection), self.expansion, self.bias)

    def flops(self) -> float:
        """FLOPs per token."""
        rank, d = self.projection.shape
        return 2.0 * rank * (d + len(self.bias))


@dataclass(frozen=True)
class Runtime:
    """A layer's compensation as prefill needs it: in the model's dtype, neurons in the plan's
    order.

    The kernel subtracts the estimate mean + activation_map z of each kept dynamic neuron from its
    exact activation; `add_skipped` then adds the estimate of all dynamic neurons to the output.
    What is linear in the features can go into the kernel instead: it adds z times
    `output_rows`. This base class estimates nothing.
    """

    output_map: OutputMap | None = None
    activation_map: Tensor | None = None  # V [f, r]
    mean: Tensor | None = None  # c [f]
    output_rows: Tensor | None = None  # [q, d], one row per feature

    reads_kept: ClassVar[bool] = False  # whether `add_skipped` looks at the kept neurons

    def features(self, x: Tensor) -> Tensor | None:
        """Features z [T, r] of inputs x [T, d], or None without any."""
        return None

    def estimating(self, z: Tensor) -> Tensor:
        """The features [T, r] that the estimate reads, of the q that `features` gave."""
        return z

    def joined(self) -> "Runtime":
        """The same compensation in fewer launches, if there is one; it rounds differently."""
        return self

    def add_skipped(
        self, y: Tensor, x: Tensor, z: Tensor | None, kept: Kept, block_size: int
    ) -> Tensor:
        """Output y [T, d] with what is estimated of skipped neurons added.

        kept: for each block of `block_size` tokens (the last may be short), the positions of its
        kept dynamic neurons in the plan's order.
        """
        return y

    def add_output(self, y: Tensor, x: Tensor) -> Tensor:
        """Output y [T, d] with what does not depend on the kept neurons added."""
        return y if self.output_map is None else y.add_(self.output_map.of(x))


@dataclass(frozen=True)
class CompensatorState(ABC):
    """The tensors that a compensator learned for one layer, float32."""

    output_map: OutputMap | None = None

    axes: ClassVar[Axes] = {}

    @abstractmethod
    def estimate(self, x: Tensor) -> Tensor:
        """Estimated activations [T, f] of inputs x [T, d], float32; zeros without an estimate."""

    @abstractmethod
    def explained_energy(self, moments: Moments) -> Tensor:
        """E a_j^2 - E (a_j - estimate_j)^2 over the fitted tokens, float64 [f]."""

    def expected_energy(self, moments: Moments, down_norms: Tensor) -> Tensor:
        """Mean residual energy E (a_j - a_hat_j)^2 |Wd_j|^2 over the fitted tokens, [f] float32,
        from the moments alone: a scale, exact without ridge.
        """
        second = moments.aa / moments.count
        # ridge can make the difference negative: a thousandth of the energy is always left
        left = (second - self.explained_energy(moments)).clamp_min(1e-3 * second)
        return (left * down_norms.double().square()).float()

    @abstractmethod
    def runtime(self, w_down_t: Tensor, hot: int, act: Act) -> Runtime:
        """The state for prefill: dtype and device of w_down_t [f, d]; the first `hot` neurons are
        always kept.
        """

    def flops(self, d: int, kept: int, hot: int) -> float:
        """FLOPs per token in a block that keeps `kept` neurons, `hot` of them always."""
        return self.output_map.flops() if self.output_map else 0.0

    def own_tensors(self) -> dict[str, Tensor]:
        """The tensors of `axes` by name."""
        return {name: getattr(self, name) for name in self.axes}

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, those of the output map as output_map.NAME."""
        tensors = self.own_tensors()
        if self.output_map:
            tensors |= {
                f"output_map.{name}": getattr(self.output_map, name) for name in OutputMap.axes
            }
        return tensors

    @classmethod
    def all_axes(cls) -> dict[str, tuple[str, ...]]:
        """Axes of `tensors()`."""
        return dict(cls.axes) | {f"output_map.{n}": axes for n, axes in OutputMap.axes.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The state that `tensors()` gave. Raises KeyError naming a tensor that is missing."""
        mapped = "output_map.projection" in tensors
        output_map = (
            OutputMap(**{name: tensors[f"output_map.{name}"] for name in OutputMap.axes})
            if mapped
            else None
        )
        return cls(output_map=output_map, **{name: tensors[name] for name in cls.axes})

    def permuted(self, order: Tensor) -> Self:
        """The same state with every neuron axis in the given order [f]."""
        own: dict[str, Any] = {
            name: reordered(getattr(self, name), axes, order) for name, axes in self.axes.items()
        }
        return replace(self, **own)

    def with_output_map(self, output_map: OutputMap | None) -> Self:
        """The same state with another output map."""
        return replace(self, output_map=output_map)

    def features(self, x: Tensor) -> Tensor:
        """Features z [T, r] of inputs x [T, d], float32. Raises ValueError without any."""
        raise ValueError(f"{type(self).__name__} has no features")

    @property
    def feature_width(self) -> int:
        """Number of features that `Runtime.features` gives; 0 for none."""
        return 0


@dataclass(frozen=True)
class Refinements:
    """What follows the closed form: the rank of a map of the output, and steps of tuning (0:
    none).
    """

    output_map_rank: int = 0
    tune_steps: int = 0


@dataclass(frozen=True)
class Compensator(Method, ABC):
    """How skipped neurons are made up for.

    The closed form is fitted layer by layer on the dense model's activations and shared by every
    selector, sparsity and block size; `refinements` follow once the kept neurons are known.
    """

    state_type: ClassVar[type[CompensatorState]]
    # parameters that change the closed form; the others only count in later stages
    closed_form: ClassVar[tuple[str, ...]] = ()
    for_token_rules: ClassVar[bool] = True
    compensates: ClassVar[bool] = True
    refits_for_kept: ClassVar[bool] = False

    @property
    def has_features(self) -> bool:
        """Whether the state computes features of each token, by which similar tokens are found."""
        return False

    def closed_form_parameters(self) -> dict[str, Any]:
        """The parameters that the closed form depends on, and the name of the method."""
        return {"name": self.name} | {name: getattr(self, name) for name in self.closed_form}

    def refinements(self) -> Refinements:
        """The steps after the closed form; none by default."""
        return Refinements()

    def size_problems(self, d: int, f: int) -> list[str]:
        """Parameters that do not fit FFNs of f neurons on d inputs: one sentence each."""
        return []

    @abstractmethod
    def fit(self, inputs: FitInputs) -> CompensatorState:
        """Closed form of one layer. Raises ValueError if a parameter does not fit its sizes."""

    def refit(self, state: CompensatorState, inputs: FitInputs, kept: Tensor) -> CompensatorState:
        """The state once the kept neurons [K] of the layer are known (if `refits_for_kept`)."""
        return state

    @abstractmethod
    def random_state(self, d: int, f: int, draw: Callable[..., Tensor]) -> CompensatorState:
        """A state with the sizes of a fitted one and random contents: for timing only."""


COMPENSATORS: Registry[Compensator] = Registry("compensator")
compensator = COMPENSATORS.add


def random_output_map(rank: int, d: int, draw: Callable[..., Tensor]) -> OutputMap | None:
    """A random output map of a rank, or None for rank 0."""
    return OutputMap(draw(rank, d), draw(d, rank), draw(d)) if rank else None
