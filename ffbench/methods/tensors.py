"""Named tensors whose axes are named too, so that neurons can be reordered without knowing what a
tensor is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

NEURON = "neuron"
Axes = Mapping[str, tuple[str, ...]]


def reordered(value: Tensor, axes: tuple[str, ...], order: Tensor) -> Tensor:
    """`value` with its neuron axis, if it has one, in the given order [f]."""
    for dim, axis in enumerate(axes):
        if axis == NEURON:
            return value.index_select(dim, order.to(value.device))
    return value


def size_problems(values: Mapping[str, Tensor], axes: Axes, sizes: Mapping[str, int]) -> list[str]:
    """One sentence per tensor that has another number of axes or another size than `sizes` says."""
    problems = []
    for name, value in values.items():
        names = axes.get(name)
        if names is None or len(names) != value.dim():
            problems.append(f"{name}: has shape {tuple(value.shape)}, expected axes {names}")
            continue
        wrong = [
            f"{axis} {size} (expected {sizes[axis]})"
            for axis, size in zip(names, value.shape, strict=True)
            if axis in sizes and sizes[axis] != size
        ]
        if wrong:
            problems.append(f"{name}: {', '.join(wrong)}")
    return problems


@dataclass
class AxisTensors:
    """Tensors by name with the names of their axes; `neuron` is the axis of the f FFN neurons."""

    values: dict[str, Tensor] = field(default_factory=dict)
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        return self.values[name]

    def permuted(self, order: Tensor) -> "AxisTensors":
        """The same tensors with every neuron axis in the given order [f]."""
        values = {
            name: reordered(value, self.axes[name], order) for name, value in self.values.items()
        }
        return AxisTensors(values, self.axes)

    def to(self, device: torch.device) -> "AxisTensors":
        """The same tensors on a device."""
        return AxisTensors({name: v.to(device) for name, v in self.values.items()}, self.axes)
