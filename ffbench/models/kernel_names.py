"""Kernels by name: those of ffkernels, and int8, for which a layer's weights are rounded once."""

import torch
from torch import Tensor

from ffkernels import backends
from ffkernels.backends import MODULES

INT8 = "int8"
NAMES = ("auto", *MODULES, INT8)


def int8_refusal(weight: Tensor) -> str | None:
    """Why int8 kernels cannot run a model with this weight, or None."""
    if weight.device.type != "cpu":
        return f"it runs on the CPU, the model is on {weight.device}"
    reason: str | None = backends.refusal("native", torch.empty(0, dtype=torch.float32))
    return reason


def kernel_name(name: str, weight: Tensor, block_size: int | None = None) -> str:
    """The kernel that `name` means for a model with this weight, "auto" resolved.

    block_size: as for `backends.load`. Raises ValueError as that does for a name that is unknown or
    cannot run here.
    """
    if name != INT8:
        return backends.name_of(backends.load(name, weight, block_size))
    if reason := int8_refusal(weight):
        raise ValueError(
            f"backend: expected one that can run this input, received {name!r}: {reason}"
        )
    return name
