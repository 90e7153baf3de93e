"""Float32 products by oneDNN on processors where torch's own are slow.

torch multiplies float32 matrices with MKL, which takes its AVX2 path on processors that are not
Intel's, even where they have AVX-512: 220 GFLOP/s on two cores of an AMD EPYC, where oneDNN, which
torch ships too, reaches 490. Both round every product and sum to float32.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


@lru_cache(maxsize=1)
def processor_vendor() -> str | None:
    """The vendor's name as an x86 processor tells it; None elsewhere or where nobody says."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^vendor_id\s*:\s*(\S+)", text, re.MULTILINE)
    return found.group(1) if found else None


def onednn_is_faster() -> bool:
    """Whether oneDNN is here and MKL leaves half of this processor's vector width unused.

    By vendor and instruction set, not by a measurement: every process on a machine must choose the
    same, so that a job that is started again gives the same bits.
    """
    vendor = processor_vendor()
    return (
        vendor is not None
        and vendor != "GenuineIntel"
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and torch.backends.mkldnn.is_available()
        and torch._C._get_mkldnn_enabled()  # torch.backends.mkldnn.flags(enabled=False) clears it
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Product x W^T + b by oneDNN, without gradients; CPU, float32, any strides."""
    # part of a wider matrix would go to oneDNN's reference code, a thousand times slower
    if not (weight.is_contiguous() or weight.T.is_contiguous()):
        weight = weight.contiguous()
    # the product that torch.compile uses on CPUs: no activation after it, no packed weight
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return result


class FrozenLinear(torch.autograd.Function):
    """The same product with the gradient of x; the weights are constants."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Product x W^T + b."""
        ctx.save_for_backward(weight)
        return onednn_linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """The gradient of x."""
        (weight,) = ctx.saved_tensors
        return onednn_linear(gradients[0], weight.T, None), None, None


def by_onednn(*tensors: Tensor) -> bool:
    """Whether a product of these is oneDNN's: float32 on a CPU where that is faster, not empty.
    Under autocast the product is torch's, which rounds to the dtype that the caller wants.
    """
    if torch.is_autocast_enabled("cpu"):
        return False
    plain = all(one.device.type == "cpu" and one.dtype == torch.float32 for one in tensors)
    return plain and all(one.numel() for one in tensors[1:]) and onednn_is_faster()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Product x W^T + b, [..., n] for x [..., d], W [n, d] and b [n]: torch's own, or oneDNN's for
    float32 on a CPU where that is faster.
    """
    constants = [weight] if bias is None else [weight, bias]
    tensors = [x, *constants]
    if not by_onednn(*tensors):
        return functional.linear(x, weight, bias)
    if not torch.is_grad_enabled() or not any(one.requires_grad for one in tensors):
        return onednn_linear(x, weight, bias)
    if any(one.requires_grad for one in constants):
        return functional.linear(x, weight, bias)
    learned: Tensor = FrozenLinear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return learned


def linear_by_block(x: Tensor, weights: Tensor) -> Tensor:
    """Products x_i W_i^T [n, B, m] of blocks x [n, B, d] and their own weights [n, m, d], chosen as
    for `linear`.
    """
    if not by_onednn(x, weights):
        return x @ weights.transpose(1, 2)
    return torch.stack([linear(one, weight) for one, weight in zip(x, weights, strict=True)])
