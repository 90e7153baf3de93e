"""Every backend and every instruction set of this machine against an independent computation in
float64."""

import os
from collections.abc import Iterator
from unittest import mock

import ffk_cases
import pytest
import torch

import ffkernels
from ffkernels import gather
from ffkernels.native import instruction_sets

HALF = (torch.bfloat16, torch.float16)
F32, F64 = torch.float32, torch.float64
SHAPES = [  # tokens, d, f, block, K, hot
    (37, 24, 50, 8, 13, 0),
    (5, 24, 50, 8, 13, 0),
    (64, 32, 96, 16, 32, 32),
    (37, 24, 50, 8, 0, 0),
    (37, 24, 50, 8, 0, 20),
    (37, 24, 50, 8, 40, 10),
    (37, 24, 50, 8, 50, 0),
    (37, 24, 50, 8, 0, 50),
    (1, 7, 9, 1, 3, 1),
    (70, 33, 301, 32, 129, 50),
    (0, 24, 50, 8, 13, 10),
    (33, 40, 210, 256, 100, 3),
    (129, 16, 700, 128, 350, 0),
    (20, 1024, 40, 16, 21, 3),  # float rows 4096 bytes apart are copied before they are multiplied
]


def backends_for(dtype: torch.dtype) -> list[str]:
    state = ffkernels.available_backends()
    names = [
        n for n in ("reference", "torch", "gather_once", "native") if state.get(n) == "available"
    ]
    return [n for n in names if n != "native" or dtype != F64]


def instruction_sets_for(dtype: torch.dtype) -> list[str]:
    return [
        name
        for name in instruction_sets.available()
        if name in instruction_sets.FLOAT_SETS or dtype == torch.bfloat16
    ]


def results(args: dict, activation: str) -> Iterator[torch.Tensor]:
    for backend in backends_for(args["x"].dtype):
        for name in instruction_sets_for(args["x"].dtype) if backend == "native" else [""]:
            with mock.patch.dict(os.environ, {instruction_sets.VARIABLE: name}):
                yield ffkernels.sparse_gated_ffn(**args, activation=activation, backend=backend)


def check(args: dict, activation: str = "silu") -> None:
    for got in results(args, activation):
        ffk_cases.assert_close(got, args, activation)


@pytest.mark.parametrize("dtype", [F32, F64, *HALF], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    tokens, d, f, block, k, hot = shape
    check(ffk_cases.make(tokens, d, f, block, k, hot=hot, dtype=dtype))


@pytest.mark.parametrize("dtype", [F32, F64, *HALF], ids=str)
@pytest.mark.parametrize(("rank", "bias"), [(6, True), (6, False), (0, True), (33, True)])
def test_correction(rank: int, bias: bool, dtype: torch.dtype) -> None:
    check(ffk_cases.make(70, 33, 301, 32, 129, hot=50, rank=rank, bias=bias, dtype=dtype))
    check(ffk_cases.make(37, 24, 50, 8, 13, rank=rank, bias=bias, dtype=dtype))


@pytest.mark.parametrize("dtype", [F32, F64, *HALF], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_features_multiplied_into_the_output(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    tokens, d, f, block, k, hot = shape
    args = ffk_cases.make(tokens, d, f, block, k, hot=hot, rank=5, bias=True, extra=17, dtype=dtype)
    check(args | {"z": args["extra"][:, :5]})


def test_features_of_width_zero_add_nothing() -> None:
    args = ffk_cases.make(37, 24, 50, 8, 13)
    check(args | {"extra": torch.empty(37, 0), "w_extra": torch.empty(0, 24)})


@pytest.mark.parametrize("activation", sorted(ffk_cases.ACTS))
def test_activations(activation: str) -> None:
    check(ffk_cases.make(37, 24, 200, 8, 83, hot=20), activation)
    check(ffk_cases.make(37, 24, 200, 8, 83, hot=20, dtype=torch.bfloat16), activation)
    wide = ffk_cases.make(37, 24, 200, 8, 83, hot=20)
    wide["x"] = wide["x"] * 60  # far into the tails: exp must neither overflow nor lose its sign
    check(wide, activation)


def test_strided_x_z_and_indices() -> None:
    args = ffk_cases.make(37, 24, 50, 8, 12, hot=5, rank=4, bias=True)
    args["x"] = args["x"].T.contiguous().T
    args["z"] = torch.cat([args["z"], args["z"]], 1)[:, ::2]
    args["indices"] = args["indices"].T.contiguous().T
    args["c"] = args["c"].repeat_interleave(2)[::2]
    args["v"] = args["v"].T.contiguous().T
    assert not any(args[n].is_contiguous() for n in ("x", "z", "indices", "c", "v"))
    check(args)


def test_rows_with_a_gap_in_memory() -> None:
    args = ffk_cases.make(37, 24, 50, 8, 12, hot=5)
    for name in ("w_gate", "w_up", "w_down_t"):
        args[name] = torch.cat([args[name], torch.full_like(args[name], float("nan"))], 1)[:, :24]
    check(args)


def test_repeated_and_solid_rows() -> None:
    args = ffk_cases.make(70, 24, 300, 16, 140, hot=10)
    args["indices"] = args["indices"][[0, 0, 0, 1, 1]]
    check(args)
    args["indices"] = torch.arange(20, 160).repeat(5, 1)
    check(args)


@pytest.mark.parametrize("dtype", [F32, F64, *HALF], ids=str)
@pytest.mark.parametrize(("group", "hot"), [(16, 0), (16, 48), (32, 0), (32, 32)])
def test_groups(group: int, hot: int, dtype: torch.dtype) -> None:
    args = ffk_cases.make(70, 33, 320, 32, 0, hot=hot, rank=5, bias=True, dtype=dtype)
    groups = (
        torch.stack([torch.randperm((320 - hot) // group)[:3].sort()[0] for _ in range(3)])
        + hot // group
    )
    args["indices"] = (groups[..., None] * group + torch.arange(group)).flatten(1)
    check(args | {"group": group})


@pytest.mark.parametrize("dtype", [F32, torch.bfloat16], ids=str)
def test_several_passes_over_inputs_neurons_and_columns(dtype: torch.dtype) -> None:
    """Sizes beyond one pass of the native code (KC, NC, JC), in groups that tiles read in place and
    in single rows."""
    args = ffk_cases.make(45, 608, 640, 45, 0, hot=32, rank=64, bias=True, dtype=dtype)
    groups = torch.randperm(19)[:16].sort()[0] + 1
    args["indices"] = (groups[:, None] * 32 + torch.arange(32)).view(1, -1)
    check(args | {"group": 32})
    check(args)


def test_scratch_content_does_not_matter() -> None:
    args = ffk_cases.make(70, 33, 301, 32, 129, hot=50, rank=5, bias=True)
    before = ffkernels.sparse_gated_ffn(**args, backend="torch")
    gather.scratch().fill(float("nan"))
    assert torch.equal(before, ffkernels.sparse_gated_ffn(**args, backend="torch"))


@pytest.mark.parametrize("dtype", [F32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_threads(threads: int, dtype: torch.dtype) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        check(ffk_cases.make(300, 64, 500, 64, 200, hot=100, dtype=dtype))
    finally:
        torch.set_num_threads(before)


def test_inputs_are_left_alone() -> None:
    args = ffk_cases.make(37, 24, 50, 8, 13, hot=10, rank=4, bias=True)
    copies = {n: t.clone() for n, t in args.items() if isinstance(t, torch.Tensor)}
    check(args)
    assert all(torch.equal(args[n], t) for n, t in copies.items())


@pytest.mark.parametrize("dtype", [F32, *HALF], ids=str)
def test_dense(dtype: torch.dtype) -> None:
    args = ffk_cases.make(37, 24, 50, 8, 0, hot=50, dtype=dtype)
    got = ffkernels.dense_gated_ffn(*(args[n] for n in ("x", "w_gate", "w_up", "w_down_t")), "silu")
    ffk_cases.assert_close(got, args)


RAGGED = [  # tokens per block, K of each block, tokens that the last block lacks, hot
    (8, [13, 50, 0, 1, 50], 0, 0),
    (8, [13, 30, 0, 1, 20], 3, 20),
    (16, [0, 0, 50], 15, 0),
    (1, [3, 0, 5], 0, 0),
    (40, [50], 7, 0),
    (300, [33, 50], 44, 0),
]


@pytest.mark.parametrize("dtype", [F32, F64, *HALF], ids=str)
@pytest.mark.parametrize("shape", RAGGED, ids=str)
def test_a_number_of_neurons_per_block(shape: tuple, dtype: torch.dtype) -> None:
    block, counts, short, hot = shape
    check(ffk_cases.make_ragged(counts, block, 24, 50, short=short, hot=hot, dtype=dtype))


@pytest.mark.parametrize("dtype", [F32, torch.bfloat16], ids=str)
def test_ragged_blocks_with_a_correction(dtype: torch.dtype) -> None:
    counts = [129, 301, 0, 64, 300]
    check(ffk_cases.make_ragged(counts, 32, 33, 301, short=5, rank=6, bias=True, dtype=dtype))


def test_one_ragged_call_equals_a_call_for_each_block() -> None:
    """float32: bit-equal, because a block's sums are the same ones."""
    counts = [13, 50, 0, 29]
    args = ffk_cases.make_ragged(counts, 32, 24, 50, rank=3, bias=True)
    for got in results(args, "silu"):
        assert got.shape == (128, 24)
    for backend in backends_for(F32):
        whole = ffkernels.sparse_gated_ffn(**args, backend=backend)
        for b, kept in enumerate(ffk_cases.kept_by_block(args)):
            rows = slice(b * 32, b * 32 + 32)
            part = {**args, "x": args["x"][rows], "z": args["z"][rows], "indices": kept[None]}
            del part["offsets"]
            assert torch.equal(whole[rows], ffkernels.sparse_gated_ffn(**part, backend=backend))


def test_ragged_blocks_that_keep_the_same_neurons() -> None:
    args = ffk_cases.make_ragged([20, 20, 20], 16, 24, 50)
    row = args["indices"][:20]
    args["indices"] = torch.cat([row, row, row])
    check(args)


def test_ragged_groups() -> None:
    args = ffk_cases.make(70, 33, 320, 32, 0, hot=32, rank=5, bias=True)
    rows = [torch.arange(32, 64), torch.arange(32, 320), torch.arange(0)]
    args["indices"] = torch.cat(rows).int()
    args["offsets"] = torch.tensor([0, 32, 320, 320]).int()
    check(args | {"group": 32})


@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64], ids=str)
def test_index_dtypes(index_dtype: torch.dtype) -> None:
    args = ffk_cases.make(37, 24, 50, 8, 13, hot=10)
    check(args | {"indices": args["indices"].to(index_dtype)})
    ragged = ffk_cases.make_ragged([13, 0, 29], 8, 24, 50)
    check(ragged | {name: ragged[name].to(index_dtype) for name in ("indices", "offsets")})
