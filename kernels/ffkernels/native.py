"""CPU backend in C++ (AVX2 or AVX-512), called through ctypes and run on torch's OpenMP threads.

Weights are read as they are stored (float32, bfloat16, float16) and never copied as a whole; all arithmetic and
the running sums are float32.
"""

import ctypes
import functools
import warnings
from pathlib import Path

import torch
from torch import Tensor

from ffkernels import build
from ffkernels.problem import Problem

STORAGE = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
ACTIVATIONS = {"silu": 0, "gelu_tanh": 1, "gelu": 2, "relu": 3}
POINTERS = ("x", "z", "c", "gate", "up", "down", "v", "y", "indices", "runs")
COUNTS = ("tokens", "d", "r", "k", "n_runs", "hot", "ldg", "ldu", "ldd", "storage", "activation", "threads")


class FfnCall(ctypes.Structure):
    """The struct of csrc/ffn.h."""

    _fields_ = [*((name, ctypes.c_void_p) for name in POINTERS), *((name, ctypes.c_int64) for name in COUNTS)]


def open_library(path: Path) -> ctypes.CDLL:
    """Load a built library and declare its functions."""
    lib = ctypes.CDLL(str(path))
    lib.ffk_level.restype = ctypes.c_int
    lib.ffk_sparse.argtypes = [ctypes.POINTER(FfnCall), ctypes.c_int]
    lib.ffk_sparse.restype = ctypes.c_int
    return lib


@functools.cache
def _loaded() -> tuple[ctypes.CDLL | None, str | None]:
    """The library and no reason, or None and why not; a failure is said once."""
    try:
        lib = open_library(build.library())
    except (build.BuildError, OSError) as error:
        warnings.warn(f"ffkernels: no native CPU kernels ({error}); the torch backend is used", stacklevel=2)
        return None, str(error)
    if lib.ffk_level() == 0:
        return None, "the processor has no AVX2 with FMA and F16C"
    return lib, None


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
    """Whether torch has AMX tiles for the dtype of x, which the float32 arithmetic here cannot match.

    AVX512-BF16 alone is no reason: Intel's vdpbf16ps does half the multiplications a second of a float32 FMA.
    """
    if x.dtype == torch.bfloat16:
        return torch.cpu._is_amx_tile_supported()
    return x.dtype == torch.float16 and torch.cpu._is_amx_fp16_supported()


def _float(t: Tensor | None) -> Tensor | None:
    return None if t is None else t.float().contiguous()


@torch.no_grad()
def sparse(p: Problem) -> Tensor:
    """Return y [T, d] in the dtype of x."""
    lib, reason = _loaded()
    if lib is None:
        raise RuntimeError(f"native backend: {reason}")
    return call(lib, lib.ffk_level(), p)


def call(lib: ctypes.CDLL, level: int, p: Problem) -> Tensor:
    """Run the kernel of one instruction set: level 1 is AVX2, 2 is AVX-512. MemoryError where scratch is refused."""
    x, z, c = _float(p.x), _float(p.z), _float(p.c)
    v = None if p.v is None else p.v.contiguous()
    runs = torch.tensor(p.runs(), dtype=torch.int64).reshape(-1, 3)
    k = p.indices.shape[1]
    assert x is not None
    y = torch.empty_like(x) if (p.hot or k) and len(x) else torch.zeros_like(x)
    tensors = (x, z, c, p.w_gate, p.w_up, p.w_down_t, v, y, p.indices, runs)
    counts = (*x.shape, 0 if v is None else v.shape[1], k, len(runs), p.hot, p.w_gate.stride(0), p.w_up.stride(0),
              p.w_down_t.stride(0), STORAGE[p.x.dtype], ACTIVATIONS[p.activation], torch.get_num_threads())
    request = FfnCall(*(None if t is None else t.data_ptr() for t in tensors), *counts)
    if len(x) and lib.ffk_sparse(ctypes.byref(request), level):
        raise MemoryError("native backend: no memory for the scratch of one block")
    return y.to(p.x.dtype)
