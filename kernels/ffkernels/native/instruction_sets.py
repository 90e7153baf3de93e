"""Which instruction set the native backend uses on this machine."""

import functools
import os
import warnings

import torch

from ffkernels.native import library
from ffkernels.problem import Problem, Scales

FLOAT_SETS = ("avx512", "avx2")
PAIR_SETS = ("amx_bf16", "avx512_bf16", "amx_emulated")
INT8_SETS = ("amx_int8", "avx512_vnni", "avx2_int8", "amx_int8_emulated")
NAMES = (*FLOAT_SETS, *PAIR_SETS, *INT8_SETS)
# The pair sets that are chosen without being asked for. Not avx512_bf16: Intel's vdpbf16ps does
# half as many multiplications per second as a float32 FMA (docs/kernels.md). The emulated tiles are
# for tests.
AUTOMATIC_PAIRS = ("amx_bf16",)
AUTOMATIC_INT8 = ("amx_int8", "avx512_vnni", "avx2_int8")
# Tile state depends on the processor, the kernel and the hypervisor.
CHECKED = ("amx_bf16", "amx_int8")
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


def serving(dtype: torch.dtype) -> tuple[str, ...]:
    """The instruction sets that take weights of `dtype`."""
    if dtype == torch.int8:
        return INT8_SETS
    return (*PAIR_SETS, *FLOAT_SETS) if dtype == torch.bfloat16 else FLOAT_SETS


def automatic(dtype: torch.dtype) -> tuple[str, ...]:
    """The instruction sets to choose from for weights of `dtype`, the fastest first."""
    if dtype == torch.int8:
        return AUTOMATIC_INT8
    return (*AUTOMATIC_PAIRS, *FLOAT_SETS) if dtype == torch.bfloat16 else FLOAT_SETS


def chosen(dtype: torch.dtype) -> str:
    """The instruction set for weights of `dtype`.

    The one that FFKERNELS_ISA names if it takes them, else the fastest that this machine has.
    """
    here, name = available(), forced()
    if name in serving(dtype):
        return name
    return next(
        candidate
        for candidate in automatic(dtype)
        if candidate in here and (candidate not in CHECKED or agrees(candidate))
    )


def _small_problem(int8: bool) -> Problem:
    """A call of 40 tokens that keeps every second of 96 neurons."""
    generator = torch.Generator().manual_seed(0)
    kept = torch.arange(0, 96, 2, dtype=torch.int32).view(1, -1)
    shapes = [(n, 64) for n in (40, 96, 96, 96)]
    x, *weights = (torch.randn(*shape, generator=generator) for shape in shapes)
    scales = None
    if int8:
        weights = [(20 * w).round().clamp(-127, 127).to(torch.int8) for w in weights]
        scales = Scales(*(torch.full((96,), 0.05) for _ in range(3)))
    else:
        x, *weights = (t.bfloat16() for t in (x, *weights))
    gate, up, down = weights
    return Problem(
        x=x, w_gate=gate, w_up=up, w_down_t=down, indices=kept, block_size=40, scales=scales
    )


@functools.cache
def agrees(name: str) -> bool:
    """Whether AMX gives what the vector code gives on a small call; warns if not.

    Each process checks it once before it is used.
    """
    lib, int8 = library.loaded()[0], name in INT8_SETS
    assert lib is not None
    problem, vector_sets = _small_problem(int8), ("avx2_int8",) if int8 else FLOAT_SETS
    vector_set = next(candidate for candidate in vector_sets if candidate in available())
    exact = library.call(lib, vector_set, problem).float()
    error = (library.call(lib, name, problem).float() - exact).abs().max()
    # h is rounded to bfloat16 (2^-9) or int8 (2^-8) once and summed over 48 neurons: 2^-5 of the
    # largest result is far above that and far below what a wrong tile gives.
    good = bool(error <= 2**-5 * exact.abs().max())
    if not good:
        warnings.warn(
            f"ffkernels: {name} gives wrong results on this machine and is not used; "
            "please report it",
            stacklevel=2,
        )
    return good
