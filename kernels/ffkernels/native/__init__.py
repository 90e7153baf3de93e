"""CPU backend in C++, called with ctypes and run on torch's OpenMP threads.

Weights are read as they are stored and never copied as a whole. The float instruction sets (avx2,
avx512) widen bfloat16 and float16; the pair sets (avx512_bf16, amx_bf16) multiply bfloat16
directly; both sum in float32. The int8 sets (avx2_int8, avx512_vnni, amx_int8) serve
`ffkernels.int8` and sum in int32.
"""

import torch
from torch import Tensor

from ffkernels.native import instruction_sets, library
from ffkernels.problem import Problem

__all__ = ["better", "instruction_set", "refusal", "sparse", "unavailable"]


def unavailable() -> str | None:
    """Why this backend cannot run here, or None."""
    return library.loaded()[1]


def refusal(x: Tensor) -> str | None:
    """Why this backend cannot take x, or None."""
    if x.device.type != "cpu":
        return f"it runs on the CPU, x is on {x.device}"
    if x.dtype not in library.FLOATS:
        return f"it takes float32, bfloat16 and float16, x is {x.dtype}"
    return unavailable()


def better(x: Tensor, block_size: int | None) -> str | None:
    """The faster backend if torch has AMX tiles for the dtype of x and this one has none."""
    amx = x.dtype == torch.float16 and torch.cpu._is_amx_fp16_supported()
    return "torch" if amx else None


def instruction_set(dtype: torch.dtype) -> str:
    """Name of the instruction set that serves weights of `dtype`."""
    return instruction_sets.chosen(dtype)


@torch.no_grad()
def sparse(p: Problem) -> Tensor:
    """Return y [T, d] in the dtype of x."""
    lib, reason = library.loaded()
    if lib is None:
        raise RuntimeError(f"native backend: {reason}")
    return p.add_extra(library.call(lib, instruction_sets.chosen(p.w_gate.dtype), p))
