"""Which instruction set the native backend uses on this machine."""

import functools
import os
import warnings

import torch

from ffkernels.native import library
from ffkernels.problem import Problem

FLOAT_SETS = ("avx512", "avx2")
PAIR_SETS = ("amx_bf16", "avx512_bf16", "amx_emulated")
NAMES = (*FLOAT_SETS, *PAIR_SETS)
# The pair sets that are chosen without being asked for. Not avx512_bf16: Intel's vdpbf16ps does
# half as many multiplications per second as a float32 FMA (docs/kernels.md). amx_emulated is for
# tests.
AUTOMATIC_PAIRS = ("amx_bf16",)
VARIABLE = "FFKERNELS_ISA"


def available() -> list[str]:
    """The instruction sets that this machine can run; empty if the backend is unavailable."""
    lib = library.loaded()[0]
    return [name for name in NAMES if library.supports(lib, name)] if lib else []


def forced() -> str | None:
    """The instruction set that FFKERNELS_ISA names, or None.

    ValueError if it is unknown or cannot run here.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return None
    if name not in NAMES:
        raise ValueError(f"{VARIABLE}: expected one of {', '.join(NAMES)}; received {name!r}")
    if name not in available():
        raise ValueError(
            f"{VARIABLE}: expected an instruction set of this machine "
            f"({', '.join(available()) or 'none'}); received {name!r}"
        )
    return name


def chosen(dtype: torch.dtype) -> str:
    """The instruction set for weights of `dtype`: the forced one if it can take them, else the
    fastest that this machine has.
    """
    here, name = available(), forced()
    if name in FLOAT_SETS or (name and dtype == torch.bfloat16):
        return name
    pairs = AUTOMATIC_PAIRS if dtype == torch.bfloat16 else ()
    return next(
        candidate
        for candidate in (*pairs, *FLOAT_SETS)
        if candidate in here and (candidate not in pairs or agrees_with_float(candidate))
    )


@functools.cache
def agrees_with_float(name: str) -> bool:
    """Whether an instruction set gives what the float code gives on a small call; warns if not.

    Tile state depends on the processor, the kernel and the hypervisor, so each process checks it
    once before it is used.
    """
    lib, generator = library.loaded()[0], torch.Generator().manual_seed(0)
    assert lib is not None
    x, gate, up, down = (
        torch.randn(n, 64, generator=generator).bfloat16() for n in (40, 96, 96, 96)
    )
    kept = torch.arange(0, 96, 2, dtype=torch.int32).view(1, -1)
    problem = Problem(x=x, w_gate=gate, w_up=up, w_down_t=down, indices=kept, block_size=40)
    float_set = next(candidate for candidate in FLOAT_SETS if candidate in available())
    exact = library.call(lib, float_set, problem).float()
    error = (library.call(lib, name, problem).float() - exact).abs().max()
    # h is rounded to bfloat16 (2^-9) once and summed over 48 neurons: 2^-5 of the largest result
    # is far above that and far below what a wrong tile gives.
    good = bool(error <= 2**-5 * exact.abs().max())
    if not good:
        warnings.warn(
            f"ffkernels: {name} gives wrong results on this machine and is not used; "
            "please report it",
            stacklevel=2,
        )
    return good
