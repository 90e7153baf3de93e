"""Checks on the arguments of the public op: each failure names argument, expected and received."""

import torch
from torch import Tensor

from ffkernels import activations
from ffkernels.problem import Problem

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def tensor(name: str, value: object, ndim: int) -> Tensor:
    """Return `value`; TypeError where it is no tensor, ValueError where it has not `ndim`
    dimensions.
    """
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


def _like(name: str, value: Tensor, x: Tensor) -> None:
    if value.dtype != x.dtype:
        raise TypeError(f"{name}: expected the dtype of x, {x.dtype}, received {value.dtype}")
    if value.device != x.device:
        raise ValueError(f"{name}: expected the device of x, {x.device}, received {value.device}")


def _count(name: str, value: object, low: int, high: int | None = None) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name}: expected an int, received {type(value).__name__}")
    if value < low or (high is not None and value > high):
        wanted = f"at least {low}" if high is None else f"{low} to {high}"
        raise ValueError(f"{name}: expected {wanted}, received {value}")
    return value


def _weights(x: object, w_gate: object, w_up: object, w_down_t: object) -> tuple[Tensor, int]:
    """Check x and the three matrices; return x and f."""
    x = tensor("x", x, 2)
    if x.dtype not in DTYPES:
        raise TypeError(
            f"x: expected dtype float32, bfloat16, float16 or float64, received {x.dtype}"
        )
    d, f = x.shape[1], tensor("w_gate", w_gate, 2).shape[0]
    if d == 0:
        raise ValueError("x: expected at least one column, received shape " + str(list(x.shape)))
    for name, w in (("w_gate", w_gate), ("w_up", w_up), ("w_down_t", w_down_t)):
        w = tensor(name, w, 2)
        _shape(name, w, (f, d), "[f, d]")
        _like(name, w, x)
        if w.stride(1) != 1 and d > 1:
            raise ValueError(
                f"{name}: expected rows contiguous in memory (stride 1), received stride "
                f"{w.stride(1)}; call .contiguous() once, ahead of time"
            )
    return x, f


def _no_grad(*tensors: Tensor | None) -> None:
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        raise ValueError(
            "requires_grad: expected inference (torch.no_grad or tensors that need no gradient), "
            "received a tensor with requires_grad=True while gradients are enabled"
        )


def check_meta(p: Problem) -> Problem:
    """Check types, shapes, dtypes and devices (never values, so fake tensors pass)."""
    x, f = _weights(p.x, p.w_gate, p.w_up, p.w_down_t)
    tokens, block = x.shape[0], _count("block_size", p.block_size, 1)
    _count("hot", p.hot, 0, f)
    indices = tensor("indices", p.indices, 2)
    if indices.dtype != torch.int64:
        raise TypeError(f"indices: expected dtype torch.int64, received {indices.dtype}")
    if indices.device != x.device:
        raise ValueError(
            f"indices: expected the device of x, {x.device}, received {indices.device}"
        )
    blocks = -(-tokens // block)
    if indices.shape[0] != blocks:
        raise ValueError(
            f"indices: expected {blocks} rows (ceil of {tokens} tokens / block_size {block}), "
            f"received {indices.shape[0]}"
        )
    if indices.shape[1] > f - p.hot:
        raise ValueError(
            f"indices: expected at most {f - p.hot} columns (f - hot), received {indices.shape[1]}"
        )
    _check_group(p)
    _check_correction(p, tokens, f)
    _no_grad(p.x, p.w_gate, p.w_up, p.w_down_t, p.z, p.v, p.c)
    activations.canonical(p.activation)
    return p


def _check_group(p: Problem) -> None:
    group = _count("group", p.group, 1)
    for name, value in (("hot", p.hot), ("indices: columns", p.indices.shape[1])):
        if value % group:
            raise ValueError(f"{name}: expected a multiple of group ({group}), received {value}")


def _check_correction(p: Problem, tokens: int, f: int) -> None:
    if (p.z is None) != (p.v is None):
        given, missing = ("z", "v") if p.v is None else ("v", "z")
        raise ValueError(f"{missing}: expected a tensor because {given} is given, received None")
    if p.z is not None and p.v is not None:
        z, v = tensor("z", p.z, 2), tensor("v", p.v, 2)
        _shape("z", z, (tokens, z.shape[1]), "[T, r]")
        _shape("v", v, (f, z.shape[1]), "[f, r]")
        _like("z", z, p.x)
        _like("v", v, p.x)
    if p.c is not None:
        _shape("c", tensor("c", p.c, 1), (f,), "[f]")
        _like("c", p.c, p.x)


def check_indices(indices: Tensor, hot: int, f: int, group: int = 1) -> None:
    """Check that rows are strictly increasing, inside [hot, f) and made of whole groups. Reads the
    values.
    """
    if indices.numel() == 0:
        return
    low, high = int(indices.min()), int(indices.max())
    if low < hot or high >= f:
        bad = low if low < hot else high
        raise ValueError(f"indices: expected values in [{hot}, {f}) (hot to f), received {bad}")
    step_ok = indices[:, 1:] > indices[:, :-1]
    if not bool(step_ok.all()):
        row, col = (~step_ok).nonzero()[0].tolist()
        pair = indices[row, col : col + 2].tolist()
        raise ValueError(
            f"indices: expected each row sorted ascending without duplicates, received {pair} "
            f"at row {row}, columns {col} and {col + 1}"
        )
    if group > 1:
        _whole_groups(indices, group)


def _whole_groups(indices: Tensor, group: int) -> None:
    groups = indices.reshape(len(indices), -1, group)
    bad = (groups[..., 0] % group != 0) | (groups[..., -1] - groups[..., 0] != group - 1)
    if bool(bad.any()):
        row, one = bad.nonzero()[0].tolist()
        first, last = groups[row, one, 0].item(), groups[row, one, -1].item()
        raise ValueError(
            f"indices: expected whole groups of {group} neighbours that start at a multiple of {group}, "
            f"received {first} to {last} at row {row}, columns {one * group} to {(one + 1) * group - 1}"
        )
