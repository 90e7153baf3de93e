"""Input outside the domain is refused with the argument, what was expected and what was
received."""

import subprocess
import sys
from pathlib import Path

import ffk_cases
import pytest
import torch

import ffkernels

I64 = torch.int64


def change(**kw):
    return lambda a: {**a, **kw}


def edit(name, fn):
    return lambda a: {**a, name: fn(a[name])}


def poke(row, col, value):
    def put(indices):
        indices = indices.clone()
        indices[row, col] = value
        return indices

    return edit("indices", put)


CASES = [
    (change(x=[1.0]), TypeError, "x: expected a torch.Tensor, received list"),
    (
        edit("x", lambda t: t[None]),
        ValueError,
        r"x: expected 2 dimensions, received shape \[1, 37, 24\]",
    ),
    (
        edit("x", lambda t: t.to(torch.int32)),
        TypeError,
        "x: expected dtype float32.*received torch.int32",
    ),
    (
        edit("w_up", lambda t: t[:49]),
        ValueError,
        r"w_up: expected shape \[50, 24\].*received \[49, 24\]",
    ),
    (
        edit("w_down_t", lambda t: t.T),
        ValueError,
        r"w_down_t: expected shape \[50, 24\].*received \[24, 50\]",
    ),
    (
        edit("w_gate", lambda t: t.T.contiguous().T),
        ValueError,
        "w_gate: expected rows contiguous.*stride 50",
    ),
    (
        edit("w_gate", lambda t: t.double()),
        TypeError,
        "w_gate: expected the dtype of x, torch.float32, received",
    ),
    (
        edit("indices", lambda t: t.float()),
        TypeError,
        "indices: expected dtype torch.int32 or torch.int64, received torch.float32",
    ),
    (edit("indices", lambda t: t[:4]), ValueError, "indices: expected 5 rows.*received 4"),
    (
        edit("indices", lambda t: torch.arange(50).repeat(5, 1)),
        ValueError,
        "at most 40 columns.*received 50",
    ),
    (poke(0, 0, 3), ValueError, r"indices: expected values in \[10, 50\).*received 3"),
    (poke(0, 0, -1), ValueError, r"indices: expected values in \[10, 50\).*received -1"),
    (poke(4, 12, 50), ValueError, r"indices: expected values in \[10, 50\).*received 50"),
    (
        edit("indices", lambda t: t.flip(1)),
        ValueError,
        "indices: expected the entries of each block sorted.*row 0, columns 0 and 1",
    ),
    (edit("indices", lambda t: t[:, [0, 0, *range(2, 13)]]), ValueError, "without duplicates"),
    (change(block_size=0), ValueError, "block_size: expected at least 1, received 0"),
    (change(block_size=8.0), TypeError, "block_size: expected an int, received float"),
    (change(hot=-1), ValueError, "hot: expected 0 to 50, received -1"),
    (change(hot=51), ValueError, "hot: expected 0 to 50, received 51"),
    (change(hot=True), TypeError, "hot: expected an int, received bool"),
    (change(activation="swish"), ValueError, "activation: expected one of silu.*received 'swish'"),
    (change(activation=None), TypeError, "activation: expected a str"),
    (change(backend="cuda"), ValueError, "backend: expected auto.*received 'cuda'"),
    (
        change(z=torch.ones(37, 4)),
        ValueError,
        "v: expected a tensor because z is given, received None",
    ),
    (
        change(v=torch.ones(50, 4)),
        ValueError,
        "z: expected a tensor because v is given, received None",
    ),
    (change(z=torch.ones(36, 4), v=torch.ones(50, 4)), ValueError, "z: expected shape"),
    (
        change(extra=torch.ones(37, 4)),
        ValueError,
        "w_extra: expected a tensor because extra is given, received None",
    ),
    (
        change(w_extra=torch.ones(4, 24)),
        ValueError,
        "extra: expected a tensor because w_extra is given, received None",
    ),
    (
        change(extra=torch.ones(36, 4), w_extra=torch.ones(4, 24)),
        ValueError,
        "extra: expected shape",
    ),
    (
        change(extra=torch.ones(37, 4), w_extra=torch.ones(5, 24)),
        ValueError,
        "w_extra: expected shape",
    ),
    (
        change(extra=torch.ones(37, 4).half(), w_extra=torch.ones(4, 24)),
        TypeError,
        "extra: expected the dtype of x",
    ),
    (
        change(extra=torch.ones(37, 4), w_extra=torch.ones(24, 4).T),
        ValueError,
        "w_extra: expected rows contiguous in memory",
    ),
    (change(z=torch.ones(37, 4), v=torch.ones(50, 5)), ValueError, "v: expected shape"),
    (change(c=torch.ones(49)), ValueError, r"c: expected shape \[50\]"),
    (change(c=torch.ones(50).double()), TypeError, "c: expected the dtype of x"),
    (change(group=0), ValueError, "group: expected at least 1, received 0"),
    (change(group=4), ValueError, r"hot: expected a multiple of group \(4\), received 10"),
    (
        change(group=2),
        ValueError,
        r"indices: columns: expected a multiple of group \(2\), received 13",
    ),
    (
        change(group=2, indices=torch.tensor([[10, 12]] * 5)),
        ValueError,
        "whole groups of 2 .* received 10 to 12 at row 0",
    ),
    (
        change(group=2, indices=torch.tensor([[10, 11, 13, 14]] * 5)),
        ValueError,
        "received 13 to 14 at row 0, columns 2 to 3",
    ),
    (
        edit("w_up", lambda t: t.clone().requires_grad_()),
        ValueError,
        "requires_grad: expected inference",
    ),
]


def put(name, position, value):
    def change_one(t):
        t = t.clone()
        t[position] = value
        return t

    return edit(name, change_one)


RAGGED_CASES = [
    (
        edit("indices", lambda t: t[None]),
        ValueError,
        r"indices: expected 1 dimensions, received shape \[1, 61\]",
    ),
    (
        edit("offsets", lambda t: t[:-1]),
        ValueError,
        r"offsets: expected 6 entries \(1 \+ ceil of 37 tokens / block_size 8\), received 5",
    ),
    (
        edit("offsets", lambda t: t.float()),
        TypeError,
        "offsets: expected dtype torch.int32 or torch.int64, received torch.float32",
    ),
    (change(offsets=[0, 1]), TypeError, "offsets: expected a torch.Tensor, received list"),
    (
        edit("indices", lambda t: t[:-1]),
        ValueError,
        r"offsets: expected the first entry 0 and the last 60 \(entries of indices\), "
        "received 0 and 61",
    ),
    (
        put("offsets", 1, 50),
        ValueError,
        r"offsets: expected 0 to 40 neurons per block \(f - hot\), received 50 for block 0",
    ),
    (put("offsets", 2, 5), ValueError, "received -8 for block 1"),
    (put("indices", 0, 3), ValueError, r"indices: expected values in \[10, 50\).*received 3"),
    (
        edit("indices", lambda t: t.flip(0)),
        ValueError,
        "indices: expected the entries of each block sorted.*at block 0, entries 1 and 2",
    ),
    (put("indices", 15, 10), ValueError, "at block 1, entries 14 and 15"),
    (
        change(group=2),
        ValueError,
        r"indices: entries: expected a multiple of group \(2\), received 61",
    ),
]


@pytest.mark.parametrize(
    ("spoil", "error", "text"), RAGGED_CASES, ids=[c[2][:40] for c in RAGGED_CASES]
)
def test_ragged_refused(spoil, error, text) -> None:
    args = ffk_cases.make_ragged([13, 40, 0, 7, 1], 8, 24, 50, short=3, hot=10)
    with pytest.raises(error, match=text):
        ffkernels.sparse_gated_ffn(**spoil(args))


def test_ragged_groups_are_refused_unless_whole() -> None:
    args = ffk_cases.make_ragged([4, 4], 8, 24, 50, hot=10)
    args["indices"] = torch.tensor([10, 11, 12, 13, 14, 15, 17, 18])
    with pytest.raises(ValueError, match="received 17 to 18 at block 1, entries 6 to 7"):
        ffkernels.sparse_gated_ffn(**args, group=2)
    args |= {"indices": torch.arange(10, 18), "offsets": torch.tensor([0, 3, 8])}
    with pytest.raises(ValueError, match=r"multiples of group \(2\), received 3 for block 1"):
        ffkernels.sparse_gated_ffn(**args, group=2)


def test_index_values_on_a_gpu_are_read_only_if_asked_for(monkeypatch) -> None:
    from ffkernels import checks

    monkeypatch.delenv(checks.VARIABLE, raising=False)
    assert checks.values_are_checked(torch.device("cpu"))
    assert not checks.values_are_checked(torch.device("cuda"))
    monkeypatch.setenv(checks.VARIABLE, "1")
    assert checks.values_are_checked(torch.device("cuda"))


@pytest.mark.parametrize(("spoil", "error", "text"), CASES, ids=[c[2][:40] for c in CASES])
def test_refused(spoil, error, text) -> None:
    args = spoil(ffk_cases.make(37, 24, 50, 8, 13, hot=10))
    with pytest.raises(error, match=text):
        ffkernels.sparse_gated_ffn(**args)


def test_parameters_pass_without_gradients() -> None:
    args = ffk_cases.make(37, 24, 50, 8, 13, hot=10)
    args["w_up"].requires_grad_()
    with torch.no_grad():
        assert not ffkernels.sparse_gated_ffn(**args).requires_grad


def test_import_does_not_load_torch() -> None:
    code = "import sys, ffkernels; assert 'torch' not in sys.modules"
    path = str(Path(ffkernels.__file__).resolve().parents[1])
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path})


def test_available_backends() -> None:
    state = ffkernels.available_backends()
    assert state["reference"] == state["torch"] == "available"
    assert all(isinstance(v, str) and v for v in state.values())
