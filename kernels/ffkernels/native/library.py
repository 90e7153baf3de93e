"""The compiled C++ library: its call structure, and loading it once per process."""

import ctypes
import functools
import warnings
from pathlib import Path

import torch
from torch import Tensor

from ffkernels.activations import CODES
from ffkernels.native import build
from ffkernels.problem import Problem

FLOATS = (torch.float32, torch.bfloat16, torch.float16)
STORAGE = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.int8: 3}  # as in ffn.h
POINTERS = (
    "x",
    "z",
    "c",
    "gate",
    "up",
    "down",
    "v",
    "gate_scale",
    "up_scale",
    "down_scale",
    "v_scale",
    "y",
    "indices",
    "runs",
)
COUNTS = (
    "tokens",
    "d",
    "r",
    "n_runs",
    "hot",
    "gate_stride",
    "up_stride",
    "down_stride",
    "storage",
    "activation",
    "threads",
    "group",
)
OUT_OF_MEMORY, UNKNOWN_ACTIVATION = 1, 3  # return codes of ffk_sparse


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
def supports(lib: ctypes.CDLL, name: str) -> bool:
    """Whether this machine can run the instruction set `name`."""
    return bool(lib.ffk_supports(name.encode()) == 1)


@functools.cache
def loaded() -> tuple[ctypes.CDLL | None, str | None]:
    """The library and no reason, or None and the reason; a failure is reported once."""
    try:
        lib = open_library(build.library())
    except (build.BuildError, OSError) as error:
        warnings.warn(
            f"ffkernels: no native CPU kernels ({error}); the torch backend is used", stacklevel=2
        )
        return None, str(error)
    if not any(supports(lib, name) for name in ("avx512", "avx2")):
        return None, "the processor has no AVX2 with FMA and F16C"
    return lib, None


def _float(t: Tensor | None) -> Tensor | None:
    return None if t is None else t.float().contiguous()


def call(lib: ctypes.CDLL, instruction_set: str, p: Problem) -> Tensor:
    """Run the kernel of one instruction set that this machine has; y [T, d] in the dtype of x.

    MemoryError if there is no memory for scratch buffers, ValueError for an unknown activation,
    RuntimeError if the instruction set cannot run this call.
    """
    x, z, c = _float(p.x), _float(p.z), _float(p.c)
    assert x is not None
    v = None if p.v is None else p.v.contiguous()
    runs = [run for run in p.runs() if run.neurons]
    covered = sum(run.end - run.start for run in runs)
    y = torch.empty_like(x) if p.hot or covered == len(x) else torch.zeros_like(x)
    table = torch.tensor(runs, dtype=torch.int64).reshape(-1, 4)
    weights, scales = (p.w_gate, p.w_up, p.w_down_t, v), p.scales or (None,) * 4
    tensors = (x, z, c, *weights, *scales, y, p.indices, table)
    counts = (
        *x.shape,
        0 if v is None else v.shape[1],
        len(runs),
        p.hot,
        p.w_gate.stride(0),
        p.w_up.stride(0),
        p.w_down_t.stride(0),
        STORAGE[p.w_gate.dtype],
        CODES.get(p.activation, -1),
        torch.get_num_threads(),
        p.group,
    )
    request = FfnCall(*(None if t is None else t.data_ptr() for t in tensors), *counts)
    if len(x):
        _raise_for(
            lib.ffk_sparse(ctypes.byref(request), instruction_set.encode()),
            p.activation,
            instruction_set,
        )
    return y.to(p.x.dtype)


def _raise_for(code: int, activation: str, instruction_set: str) -> None:
    """Turn a return code of ffk_sparse into an exception; 0 is success."""
    if code == OUT_OF_MEMORY:
        raise MemoryError("native backend: no memory for the scratch buffers of one block")
    if code == UNKNOWN_ACTIVATION:
        expected = ", ".join(CODES)
        raise ValueError(f"activation: expected one of {expected}; received {activation!r}")
    if code:
        raise RuntimeError(f"native backend: {instruction_set} cannot run this call")
