"""CPU backend in C++, called through ctypes and run on torch's OpenMP threads; it picks the
instruction set.

Weights are read as they are stored and never copied as a whole. The float instruction sets (avx2,
avx512) widen bfloat16 and float16; the pair ones (avx512_bf16, amx_bf16) multiply bfloat16 as it
is. Sums are float32 in all.
"""

import ctypes
import functools
import os
import warnings
from pathlib import Path

import torch
from torch import Tensor

from ffkernels import build
from ffkernels.problem import Problem

STORAGE = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
ACTIVATIONS = {"silu": 0, "gelu_tanh": 1, "gelu": 2, "relu": 3}
POINTERS = ("x", "z", "c", "gate", "up", "down", "v", "y", "indices", "runs")
COUNTS = (
    "tokens",
    "d",
    "r",
    "k",
    "n_runs",
    "hot",
    "ldg",
    "ldu",
    "ldd",
    "storage",
    "activation",
    "threads",
    "group",
)
FLOAT_ISAS = ("avx512", "avx2")
PAIR_ISAS = ("amx_bf16", "avx512_bf16", "amx_emulated")
ISAS = (*FLOAT_ISAS, *PAIR_ISAS)
# avx512_bf16 is left out: Intel's vdpbf16ps does half the multiplications a second of a float32 FMA
# (docs/kernels.md).
# amx_emulated is for tests.
AUTO_PAIRS = ("amx_bf16",)
VARIABLE = "FFKERNELS_ISA"


class FfnCall(ctypes.Structure):
    """The struct of csrc/ffn.h."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in POINTERS),
        *((name, ctypes.c_int64) for name in COUNTS),
    ]


def open_library(path: Path) -> ctypes.CDLL:
    """Load a built library and declare its functions."""
    lib = ctypes.CDLL(str(path))
    lib.ffk_supports.argtypes = [ctypes.c_char_p]
    lib.ffk_supports.restype = ctypes.c_int
    lib.ffk_sparse.argtypes = [ctypes.POINTER(FfnCall), ctypes.c_char_p]
    lib.ffk_sparse.restype = ctypes.c_int
    return lib


@functools.cache
def _loaded() -> tuple[ctypes.CDLL | None, str | None]:
    """The library and no reason, or None and why not; a failure is said once."""
    try:
        lib = open_library(build.library())
    except (build.BuildError, OSError) as error:
        warnings.warn(
            f"ffkernels: no native CPU kernels ({error}); the torch backend is used", stacklevel=2
        )
        return None, str(error)
    if not any(lib.ffk_supports(name.encode()) == 1 for name in FLOAT_ISAS):
        return None, "the processor has no AVX2 with FMA and F16C"
    return lib, None


def isas() -> list[str]:
    """The instruction sets that this machine can run; empty where the backend is unavailable."""
    lib = _loaded()[0]
    return [name for name in ISAS if lib.ffk_supports(name.encode()) == 1] if lib else []


def forced() -> str | None:
    """The instruction set that FFKERNELS_ISA names, or None. ValueError where it is unknown or
    cannot run here.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return None
    if name not in ISAS:
        raise ValueError(f"{VARIABLE}: expected one of {', '.join(ISAS)}; received {name!r}")
    if name not in isas():
        raise ValueError(
            f"{VARIABLE}: expected an instruction set of this machine ({', '.join(isas()) or 'none'}); "
            f"received {name!r}"
        )
    return name


def isa_for(dtype: torch.dtype) -> str:
    """The instruction set for weights of `dtype`: the forced one where it can take them, else the
    fastest here.
    """
    here, name = isas(), forced()
    if name in FLOAT_ISAS or (name and dtype == torch.bfloat16):
        return name
    pairs = AUTO_PAIRS if dtype == torch.bfloat16 else ()
    return next(
        one for one in (*pairs, *FLOAT_ISAS) if one in here and (one not in pairs or _trusted(one))
    )


@functools.cache
def _trusted(name: str) -> bool:
    """Whether an instruction set gives what the float code gives on a small call; said aloud where
    it does not.

    The AMX code was written on a machine without AMX, so each process checks it once before it is
    used.
    """
    lib, generator = _loaded()[0], torch.Generator().manual_seed(0)
    assert lib is not None
    x, gate, up, down = (
        torch.randn(n, 64, generator=generator).bfloat16() for n in (40, 96, 96, 96)
    )
    kept = torch.arange(0, 96, 2).view(1, -1)
    problem = Problem(x, gate, up, down, kept, 40, 0, "silu")
    exact, found = (
        call(lib, one, problem).float()
        for one in (next(one for one in FLOAT_ISAS if one in isas()), name)
    )
    good = bool((found - exact).abs().max() <= 2**-5 * exact.abs().max())
    if not good:
        warnings.warn(
            f"ffkernels: {name} gives wrong results on this machine and is not used; please report it",
            stacklevel=2,
        )
    return good


def unavailable() -> str | None:
    """Why this backend cannot run here, or None."""
    return _loaded()[1]


def refusal(x: Tensor) -> str | None:
    """Why this backend cannot take x, or None."""
    if x.device.type != "cpu":
        return f"it runs on the CPU, x is on {x.device}"
    if x.dtype not in STORAGE:
        return f"it takes float32, bfloat16 and float16, x is {x.dtype}"
    return unavailable()


def slower(x: Tensor) -> bool:
    """Whether torch has AMX tiles for the dtype of x, and this backend has not."""
    return x.dtype == torch.float16 and torch.cpu._is_amx_fp16_supported()


def _float(t: Tensor | None) -> Tensor | None:
    return None if t is None else t.float().contiguous()


@torch.no_grad()
def sparse(p: Problem) -> Tensor:
    """Return y [T, d] in the dtype of x."""
    lib, reason = _loaded()
    if lib is None:
        raise RuntimeError(f"native backend: {reason}")
    return call(lib, isa_for(p.x.dtype), p)


def call(lib: ctypes.CDLL, isa: str, p: Problem) -> Tensor:
    """Run the kernel of one instruction set that this machine has. MemoryError where scratch is
    refused.
    """
    x, z, c = _float(p.x), _float(p.z), _float(p.c)
    v = None if p.v is None else p.v.contiguous()
    runs = torch.tensor(p.runs(), dtype=torch.int64).reshape(-1, 3)
    k = p.indices.shape[1]
    assert x is not None
    y = torch.empty_like(x) if (p.hot or k) and len(x) else torch.zeros_like(x)
    tensors = (x, z, c, p.w_gate, p.w_up, p.w_down_t, v, y, p.indices, runs)
    counts = (
        *x.shape,
        0 if v is None else v.shape[1],
        k,
        len(runs),
        p.hot,
        p.w_gate.stride(0),
        p.w_up.stride(0),
        p.w_down_t.stride(0),
        STORAGE[p.x.dtype],
        ACTIVATIONS[p.activation],
        torch.get_num_threads(),
        p.group,
    )
    request = FfnCall(*(None if t is None else t.data_ptr() for t in tensors), *counts)
    if len(x) and (code := lib.ffk_sparse(ctypes.byref(request), isa.encode())):
        raise (
            MemoryError("native backend: no memory for the scratch of one block")
            if code == 1
            else RuntimeError(f"native backend: {isa} cannot run this call")
        )
    return y.to(p.x.dtype)
