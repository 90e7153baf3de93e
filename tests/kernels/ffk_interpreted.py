"""Run the Triton backend under its interpreter on CPU tensors: TRITON_INTERPRET must be set before
triton is imported.

Started by test_ffk_triton_numbers.py in a process of its own; prints one JSON object, case name ->
"ok" or what failed."""

from collections.abc import Callable, Iterator

import ffk_cases
import torch
from ffk_interpreter import report

F16, F32 = torch.float16, torch.float32
SHAPES = {  # tokens, d, f, block, K, hot
    "odd": (37, 24, 50, 8, 13, 0),
    "shorter_than_block": (5, 24, 50, 8, 13, 3),
    "one_token": (1, 7, 9, 1, 3, 1),
    "nothing_kept": (37, 24, 50, 8, 0, 0),
    "only_hot": (37, 24, 50, 8, 0, 20),
    "hot_and_any": (70, 33, 301, 32, 129, 50),
    "all_dynamic": (37, 24, 50, 8, 50, 0),
    "all_hot": (37, 24, 50, 8, 0, 50),
    "hot_and_rest": (37, 24, 50, 8, 40, 10),
    "no_tokens": (0, 24, 50, 8, 13, 10),
    "two_tiles_per_block": (150, 64, 96, 140, 70, 10),
    "several_columns": (20, 150, 64, 16, 20, 8),
    "one_neuron": (20, 16, 64, 16, 1, 0),
    "more_token_tiles_than_one_group": (300, 16, 80, 16, 70, 0),
}
EXTRA = {  # a shape of SHAPES, width of the features, rank
    "odd": (16, 0),
    "hot_and_any": (17, 6),
    "nothing_kept": (5, 0),
    "only_hot": (33, 0),
    "all_hot": (32, 0),
    "one_token": (1, 1),
    "two_tiles_per_block": (48, 16),
    "several_columns": (176, 64),
    "no_tokens": (7, 0),
}
RAGGED = {  # tokens per block, K of each block, tokens that the last block lacks, hot, rank
    "any": (16, [13, 50, 0, 1, 50], 0, 0, 0),
    "hot": (16, [13, 30, 0, 1, 20], 3, 20, 0),
    "empty_edges": (16, [0, 50, 0], 15, 0, 0),
    "one_token": (1, [3, 0, 5], 0, 0, 0),
    "one_short_block": (40, [50], 7, 0, 0),
    "several_tiles": (40, [150, 0, 31, 200, 64], 5, 0, 7),
}


def run(args: dict, activation: str = "silu") -> None:
    """Compare one call with float64."""
    import ffkernels

    got = ffkernels.sparse_gated_ffn(**args, activation=activation, backend="triton")
    ffk_cases.assert_close(got, args, activation)


def grouped(group: int, dtype: torch.dtype, hot: int, rank: int = 0) -> dict:
    """A problem whose sets are whole groups."""
    from ffkernels.bench import shapes

    args = ffk_cases.make(50, 24, 256, 16, 96, hot=hot, rank=rank, bias=rank > 0, dtype=dtype)
    args["indices"] = shapes.index_sets(4, 256, hot, 96, group, torch.Generator().manual_seed(1))
    return args | {"group": group}


def ragged(name: str, dtype: torch.dtype) -> dict:
    """A problem whose blocks have a K of their own."""
    block, counts, short, hot, rank = RAGGED[name]
    f = max(*counts, 50) + hot
    return ffk_cases.make_ragged(
        counts, block, 24, f, short=short, hot=hot, rank=rank, bias=rank > 0, dtype=dtype
    )


def ragged_groups(dtype: torch.dtype) -> dict:
    """Whole groups of 16, another number of them in each block."""
    args = ffk_cases.make(60, 24, 256, 20, 0, hot=32, rank=4, bias=True, dtype=dtype)
    rows = [torch.arange(48, 80), torch.arange(0), torch.arange(32, 256)]
    offsets = torch.tensor([0, 32, 32, 256])
    return args | {"indices": torch.cat(rows), "offsets": offsets, "group": 16}


def strided(dtype: torch.dtype) -> dict:
    """A problem with strides other than the shapes' own, and NaN in the gaps between weight
    rows."""
    args = ffk_cases.make(37, 24, 50, 8, 12, hot=5, rank=4, bias=True, dtype=dtype)
    args["x"] = args["x"].T.contiguous().T
    args["z"] = torch.cat([args["z"], args["z"]], 1)[:, ::2]
    args["v"] = args["v"].T.contiguous().T
    args["c"] = args["c"].repeat_interleave(2)[::2]
    args["indices"] = args["indices"].T.contiguous().T
    for name in ("w_gate", "w_up", "w_down_t"):
        args[name] = torch.cat([args[name], torch.full_like(args[name], float("nan"))], 1)[:, :24]
    return args


def with_extra(shape: str, dtype: torch.dtype) -> dict:
    """A problem with features that are multiplied into the output."""
    (tokens, d, f, block, k, hot), (width, rank) = SHAPES[shape], EXTRA[shape]
    args = ffk_cases.make(
        tokens, d, f, block, k, hot=hot, rank=rank, bias=rank > 0, extra=width, dtype=dtype
    )
    if rank and width >= rank:
        args["z"] = args["extra"][:, :rank]  # a view, as a compensator gives it
    return args


def strided_extra(dtype: torch.dtype) -> dict:
    """Features in columns, and NaN in the gaps between their rows."""
    args = ffk_cases.make(37, 24, 50, 8, 12, hot=5, extra=19, dtype=dtype)
    args["extra"] = args["extra"].T.contiguous().T
    rows = args["w_extra"]
    args["w_extra"] = torch.cat([rows, torch.full_like(rows, float("nan"))], 1)[:, :24]
    return args


def ragged_extra(name: str, dtype: torch.dtype) -> dict:
    """The same with a K per block, 0 included."""
    block, counts, short, hot, _ = RAGGED[name]
    return ffk_cases.make_ragged(
        counts, block, 24, max(*counts, 50) + hot, short=short, hot=hot, extra=21, dtype=dtype
    )


def paired(args: dict) -> None:
    """Gate and up in one product give the same numbers."""
    from ffkernels.triton.tiles import Tile, trying

    with trying(Tile(16, 32, 32, 4, 2, paired=True), Tile(16, 64, 32, 4, 2)):
        run(args)


def paired_layouts(dtype: torch.dtype) -> None:
    """Wherever both matrices are: one above the other, the other way round, and row by row."""
    args = ffk_cases.make(20, 24, 50, 8, 13, hot=3, dtype=dtype)
    gate, up = args["w_gate"], args["w_up"]
    fused, rows = torch.cat([gate, up]), torch.stack([gate, up], 1).flatten(0, 1)
    swapped = torch.cat([up, gate])
    for gate, up in (
        (fused[:50], fused[50:]),
        (swapped[50:], swapped[:50]),
        (rows[::2], rows[1::2]),
    ):
        paired(args | {"w_gate": gate, "w_up": up})


def nan_scratch(dtype: torch.dtype) -> None:
    """What torch.empty holds must not matter."""
    original = torch.empty
    torch.empty = lambda *a, **k: original(*a, **k).fill_(float("nan"))  # type: ignore[assignment]
    try:
        run(ffk_cases.make(70, 33, 301, 32, 129, hot=50, rank=6, bias=True, dtype=dtype))
    finally:
        torch.empty = original  # type: ignore[assignment]


def ragged_nan_scratch(dtype: torch.dtype) -> None:
    """Padding between the blocks of h is not read."""
    original = torch.empty
    torch.empty = lambda *a, **k: original(*a, **k).fill_(float("nan"))  # type: ignore[assignment]
    try:
        run(ragged("several_tiles", dtype))
    finally:
        torch.empty = original  # type: ignore[assignment]


def launch_order() -> None:
    """16 token tiles go through all other tiles before the next 16 begin, the token tile fastest."""
    from ffk_launch_order import note_order

    token_tiles, other_tiles = 40, 3
    found = torch.full((2, token_tiles * other_tiles), -1, dtype=torch.int32)
    note_order[(found.shape[1],)](found[0], found[1], token_tiles, other_tiles)
    groups = [range(first, min(first + 16, token_tiles)) for first in range(0, token_tiles, 16)]
    expected = [(t, o) for group in groups for o in range(other_tiles) for t in group]
    assert [tuple(pair) for pair in found.T.tolist()] == expected


def refuses_bfloat16() -> None:
    """The interpreter's bfloat16 product gives wrong results without an error, so the backend must refuse it."""
    try:
        run(ffk_cases.make(5, 24, 50, 8, 13, dtype=torch.bfloat16))
    except ValueError as error:
        assert "float16 and float32 only, x is torch.bfloat16" in str(error), error
        return
    raise AssertionError("bfloat16 was taken")


def cases() -> Iterator[tuple[str, Callable[[], None]]]:
    """Every case with its name."""
    for dtype, name in ((F16, "f16"), (F32, "f32")):
        for shape, (tokens, d, f, block, k, hot) in SHAPES.items():
            yield (
                f"{shape}-{name}",
                lambda a=(tokens, d, f, block, k), h=hot, t=dtype: run(
                    ffk_cases.make(*a, hot=h, dtype=t)
                ),
            )
        for rank, bias in ((6, True), (6, False), (0, True), (33, True)):
            yield (
                f"correction_{rank}_{bias}-{name}",
                lambda r=rank, b=bias, t=dtype: run(
                    ffk_cases.make(70, 33, 101, 32, 49, hot=20, rank=r, bias=b, dtype=t)
                ),
            )
        for group in (8, 16, 32, 64):
            yield f"group_{group}-{name}", lambda g=group, t=dtype: run(grouped(g, t, 0))
            yield (
                f"group_{group}_hot-{name}",
                lambda g=group, t=dtype: run(grouped(g, t, 64, rank=5)),
            )
        for activation in ffk_cases.ACTS:
            yield (
                f"{activation}-{name}",
                lambda n=activation, t=dtype: run(
                    ffk_cases.make(37, 24, 60, 8, 23, hot=20, dtype=t), n
                ),
            )
        for shape in RAGGED:
            yield f"ragged_{shape}-{name}", lambda s=shape, t=dtype: run(ragged(s, t))
        for shape in ("odd", "hot_and_any", "one_neuron", "one_token"):
            tokens, d, f, block, k, hot = SHAPES[shape]
            yield (
                f"paired_{shape}-{name}",
                lambda a=(tokens, d, f, block, k), h=hot, t=dtype: paired(
                    ffk_cases.make(*a, hot=h, rank=5, bias=True, dtype=t)
                ),
            )
        yield f"paired_layouts-{name}", lambda t=dtype: paired_layouts(t)
        yield f"paired_groups-{name}", lambda t=dtype: paired(grouped(16, t, 64, rank=5))
        yield f"paired_ragged-{name}", lambda t=dtype: paired(ragged("several_tiles", t))
        yield f"paired_strides-{name}", lambda t=dtype: paired(strided(t))
        yield f"ragged_groups-{name}", lambda t=dtype: run(ragged_groups(t))
        yield f"ragged_nan_scratch-{name}", lambda t=dtype: ragged_nan_scratch(t)
        for shape in EXTRA:
            yield f"extra_{shape}-{name}", lambda s=shape, t=dtype: run(with_extra(s, t))
        for shape in ("any", "empty_edges"):
            yield f"extra_ragged_{shape}-{name}", lambda s=shape, t=dtype: run(ragged_extra(s, t))
        yield f"extra_strides-{name}", lambda t=dtype: run(strided_extra(t))
        yield f"strides-{name}", lambda t=dtype: run(strided(t))
        yield f"nan_scratch-{name}", lambda t=dtype: nan_scratch(t)
    yield "launch_order", launch_order
    yield "refuses_bfloat16", refuses_bfloat16


if __name__ == "__main__":
    report(cases())
