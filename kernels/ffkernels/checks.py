"""Checks on the arguments of the public op.

Each failure names the argument, what was expected and what was received.
"""

import os

import torch
from torch import Tensor

from ffkernels import activations
from ffkernels.problem import Problem

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
INDEX_DTYPES = (torch.int32, torch.int64)
VARIABLE = "FFKERNELS_CHECK"


def tensor(name: str, value: object, ndim: int) -> Tensor:
    """Return `value`. TypeError unless it is a tensor, ValueError unless `ndim` dimensions."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, received {type(value).__name__}")
    if value.dim() != ndim:
        raise ValueError(f"{name}: expected {ndim} dimensions, received shape {list(value.shape)}")
    return value


def _shape(name: str, value: Tensor, expected: tuple[int, ...], meaning: str) -> None:
    if tuple(value.shape) != expected:
        raise ValueError(
            f"{name}: expected shape {list(expected)} ({meaning}), received {list(value.shape)}"
        )


def _device(name: str, value: Tensor, x: Tensor) -> None:
    if value.device != x.device:
        raise ValueError(f"{name}: expected the device of x, {x.device}, received {value.device}")


def _like(name: str, value: Tensor, x: Tensor) -> None:
    if value.dtype != x.dtype:
        raise TypeError(f"{name}: expected the dtype of x, {x.dtype}, received {value.dtype}")
    _device(name, value, x)


def _weight_type(name: str, value: Tensor, p: Problem) -> None:
    """Check dtype and device of a weight: those of x, or int8 if the call has scales."""
    if p.scales is None:
        _like(name, value, p.x)
    else:
        _device(name, value, p.x)  # `ffkernels.int8` has checked the dtype


def _count(name: str, value: object, low: int, high: int | None = None) -> int:
    if isinstance(value, bool) or not isinstance(value, int | torch.SymInt):
        raise TypeError(f"{name}: expected an int, received {type(value).__name__}")
    if value < low or (high is not None and value > high):
        wanted = f"at least {low}" if high is None else f"{low} to {high}"
        raise ValueError(f"{name}: expected {wanted}, received {value}")
    return value  # type: ignore[return-value]


def _weights(p: Problem) -> tuple[Tensor, int]:
    """Check x and the three matrices; return x and f."""
    x = tensor("x", p.x, 2)
    if x.dtype not in DTYPES:
        raise TypeError(
            f"x: expected dtype float32, bfloat16, float16 or float64, received {x.dtype}"
        )
    d, f = x.shape[1], tensor("w_gate", p.w_gate, 2).shape[0]
    if d == 0:
        raise ValueError("x: expected at least one column, received shape " + str(list(x.shape)))
    for name, w in (("w_gate", p.w_gate), ("w_up", p.w_up), ("w_down_t", p.w_down_t)):
        w = tensor(name, w, 2)
        _shape(name, w, (f, d), "[f, d]")
        _weight_type(name, w, p)
        _contiguous_rows(name, w)
    return x, f


def _no_grad(*tensors: Tensor | None) -> None:
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        raise ValueError(
            "requires_grad: expected inference (torch.no_grad or tensors that need no gradient), "
            "received a tensor with requires_grad=True while gradients are enabled"
        )


def check_meta(p: Problem) -> Problem:
    """Check types, shapes, dtypes and devices, never values, so that fake tensors pass."""
    x, f = _weights(p)
    _count("block_size", p.block_size, 1)
    _count("hot", p.hot, 0, f)
    _check_index_shapes(p, f)
    _check_group(p)
    _check_correction(p, x.shape[0], f)
    if p.extra is not None or p.w_extra is not None:
        _check_extra(p)
    _no_grad(p.x, p.w_gate, p.w_up, p.w_down_t, p.z, p.v, p.c, p.extra, p.w_extra)
    activations.canonical(p.activation)
    return p


def _index_tensor(name: str, value: object, ndim: int, x: Tensor) -> Tensor:
    t = tensor(name, value, ndim)
    if t.dtype not in INDEX_DTYPES:
        raise TypeError(f"{name}: expected dtype torch.int32 or torch.int64, received {t.dtype}")
    _device(name, t, x)
    return t


def _check_index_shapes(p: Problem, f: int) -> None:
    meaning = f"ceil of {p.x.shape[0]} tokens / block_size {p.block_size}"
    if p.offsets is not None:
        _index_tensor("indices", p.indices, 1, p.x)
        offsets = _index_tensor("offsets", p.offsets, 1, p.x)
        if offsets.shape[0] != p.blocks + 1:
            raise ValueError(
                f"offsets: expected {p.blocks + 1} entries (1 + {meaning}), "
                f"received {offsets.shape[0]}"
            )
        return
    indices = _index_tensor("indices", p.indices, 2, p.x)
    if indices.shape[0] != p.blocks:
        raise ValueError(
            f"indices: expected {p.blocks} rows ({meaning}), received {indices.shape[0]}"
        )
    if indices.shape[1] > f - p.hot:
        raise ValueError(
            f"indices: expected at most {f - p.hot} columns (f - hot), received {indices.shape[1]}"
        )


def _check_group(p: Problem) -> None:
    group = _count("group", p.group, 1)
    columns = "indices: columns" if p.offsets is None else "indices: entries"
    for name, value in (("hot", p.hot), (columns, p.indices.shape[-1])):
        if value % group:
            raise ValueError(f"{name}: expected a multiple of group ({group}), received {value}")


def _both(first: str, a: Tensor | None, second: str, b: Tensor | None) -> None:
    """ValueError if only one of two arguments is given."""
    if (a is None) != (b is None):
        given, missing = (first, second) if b is None else (second, first)
        raise ValueError(f"{missing}: expected a tensor because {given} is given, received None")


def _contiguous_rows(name: str, w: Tensor) -> None:
    """ValueError if the elements of a row of a weight are not neighbours in memory."""
    if w.stride(1) != 1 and w.shape[1] > 1:
        raise ValueError(
            f"{name}: expected rows contiguous in memory (stride 1), received stride "
            f"{w.stride(1)}; call .contiguous() once, when the model is loaded"
        )


def _check_extra(p: Problem) -> None:
    """Check the features that are multiplied into the output, and their rows."""
    _both("extra", p.extra, "w_extra", p.w_extra)
    extra, rows = tensor("extra", p.extra, 2), tensor("w_extra", p.w_extra, 2)
    tokens, d = p.x.shape
    _shape("extra", extra, (tokens, extra.shape[1]), "[T, q]")
    _shape("w_extra", rows, (extra.shape[1], d), "[q, d]")
    for name, value in (("extra", extra), ("w_extra", rows)):
        _like(name, value, p.x)
    _contiguous_rows("w_extra", rows)


def _check_correction(p: Problem, tokens: int, f: int) -> None:
    _both("z", p.z, "v", p.v)
    if p.z is not None and p.v is not None:
        z, v = tensor("z", p.z, 2), tensor("v", p.v, 2)
        _shape("z", z, (tokens, z.shape[1]), "[T, r]")
        _shape("v", v, (f, z.shape[1]), "[f, r]")
        _like("z", z, p.x)
        _weight_type("v", v, p)
    if p.c is not None:
        _shape("c", tensor("c", p.c, 1), (f,), "[f]")
        _like("c", p.c, p.x)


def values_are_checked(device: torch.device) -> bool:
    """Whether a call on this device reads the index values to check them.

    Always on the CPU, because a wrong index would read foreign memory. On a GPU only with
    FFKERNELS_CHECK=1: each read makes the host wait and forbids the capture of CUDA graphs.
    """
    return device.type == "cpu" or os.environ.get(VARIABLE) == "1"


def check_indices(
    indices: Tensor, offsets: Tensor | None, hot: int, f: int, group: int = 1
) -> None:
    """Check that each block's entries increase strictly, are in [hot, f) and form whole groups.

    Reads the values of `indices` ([blocks, K], or [sum of K] with `offsets` [blocks + 1]).
    """
    if offsets is not None:
        _check_offsets(offsets, indices.shape[0], f - hot, group)
    if indices.numel() == 0:
        return
    low, high = int(indices.min()), int(indices.max())
    if low < hot or high >= f:
        bad = low if low < hot else high
        raise ValueError(f"indices: expected values in [{hot}, {f}) (hot to f), received {bad}")
    _check_order(indices, offsets)
    if group > 1:
        _check_whole_groups(indices, offsets, group)


def _check_offsets(offsets: Tensor, entries: int, most: int, group: int) -> None:
    bounds = offsets.tolist()
    if bounds[0] != 0 or bounds[-1] != entries:
        raise ValueError(
            f"offsets: expected the first entry 0 and the last {entries} (entries of indices), "
            f"received {bounds[0]} and {bounds[-1]}"
        )
    for block, (first, end) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        if not 0 <= end - first <= most:
            raise ValueError(
                f"offsets: expected 0 to {most} neurons per block (f - hot), received "
                f"{end - first} for block {block}"
            )
        if first % group:
            raise ValueError(
                f"offsets: expected multiples of group ({group}), received {first} "
                f"for block {block}"
            )


def _place(position: int, columns: int, offsets: Tensor | None) -> str:
    """Where a position of the flat indices is, in words."""
    if offsets is None:
        return f"row {position // columns}, columns {position % columns}"
    block = int((offsets <= position).sum()) - 1
    return f"block {block}, entries {position}"


def _check_order(indices: Tensor, offsets: Tensor | None) -> None:
    flat = indices.flatten()
    ordered = flat[1:] > flat[:-1]
    if offsets is None:
        ordered[indices.shape[1] - 1 :: indices.shape[1]] = True
    else:
        inner = offsets[1:-1].long()
        ordered[inner[(inner > 0) & (inner < len(flat))] - 1] = True
    if bool(ordered.all()):
        return
    at = int((~ordered).nonzero()[0])
    last = at + 1 if offsets is not None else at % indices.shape[1] + 1
    raise ValueError(
        "indices: expected the entries of each block sorted ascending without duplicates, received "
        f"{flat[at : at + 2].tolist()} at {_place(at, indices.shape[-1], offsets)} and {last}"
    )


def _check_whole_groups(indices: Tensor, offsets: Tensor | None, group: int) -> None:
    groups = indices.reshape(-1, group)
    bad = (groups[:, 0] % group != 0) | (groups[:, -1] - groups[:, 0] != group - 1)
    if not bool(bad.any()):
        return
    number = int(bad.nonzero()[0])
    at, last = number * group, number * group + group - 1
    if offsets is None:
        last %= indices.shape[1]
    raise ValueError(
        f"indices: expected whole groups of {group} neighbours that start at a multiple of "
        f"{group}, received {int(groups[number, 0])} to {int(groups[number, -1])} at "
        f"{_place(at, indices.shape[-1], offsets)} to {last}"
    )
