"""Run the select kernels under Triton's interpreter: TRITON_INTERPRET must be set before triton is
imported.

Started by test_ffk_select.py in a process of its own; prints one JSON object, case name -> "ok" or
what failed."""

from collections.abc import Callable, Iterator

import torch
from ffk_interpreter import report

from ffkernels import select

ROWS = {  # rows, scores per row, kept, group
    "one": (1, 1, 1, 1),
    "none_kept": (3, 8, 0, 1),
    "all_kept": (3, 50, 50, 1),
    "odd": (4, 301, 129, 1),
    "power_of_two": (2, 256, 100, 1),
    "groups_of_8": (3, 160, 64, 8),
    "groups_of_16": (2, 16 * 21, 16 * 5, 16),
    "several_chunks": (2, 5000, 2600, 1),
    "no_rows": (0, 20, 5, 1),
}
MEANS = {  # tokens, d, block
    "whole": (64, 24, 16),
    "short_last": (70, 33, 16),
    "one_short": (5, 24, 16),
    "one_token": (1, 7, 1),
    "several_columns": (40, 300, 16),
    "steps": (150, 8, 70),
}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def same(scores: torch.Tensor, count: int, **options: object) -> None:
    """Triton keeps what torch keeps."""
    got = select.keep_largest(scores, count, backend="triton", **options)
    expected = select.keep_largest(scores, count, backend="torch", **options)
    assert got.dtype == torch.int32 and torch.equal(got, expected), (got, expected)


def means(tokens: int, d: int, block: int, dtype: torch.dtype) -> None:
    """Triton's means are torch's up to the rounding of a sum."""
    x, centre = random(tokens, d).to(dtype), random(d, seed=1)
    strided = torch.cat([x, x.new_full((tokens, 3), float("nan"))], 1)[:, :d]
    for given in (x, strided, x.T.contiguous().T):
        got = select.block_means(given, block, centre, dtype, "triton")
        expected = select.block_means(given.double(), block, centre, torch.float32, "torch")
        assert got.dtype == dtype and got.shape == expected.shape
        torch.testing.assert_close(
            got.float(), expected, atol=4e-3 if dtype.itemsize == 2 else 1e-6, rtol=1e-3
        )


def ties() -> Iterator[torch.Tensor]:
    """Rows with equal scores: a few levels, all the same, both zeros, infinities, tiny numbers."""
    levels = (random(5, 90) * 2).round()
    yield levels
    yield torch.ones(2, 90)
    zeros = torch.zeros(2, 90)
    zeros[:, ::3] = -0.0
    yield zeros
    yield levels.clone().masked_fill_(levels == 2, torch.inf).masked_fill_(levels == -2, -torch.inf)
    yield levels * 1e-44


RAGGED = {  # scores per row, kept of each row, group
    "any": (301, [129, 0, 301, 1], 1),
    "groups": (160, [64, 0, 160, 16], 16),
    "chunks": (5000, [2600, 4999], 1),
    "nothing": (20, [0, 0], 1),
    "one_row": (7, [3], 1),
}


def ragged(width: int, counts: list[int], group: int, **options: object) -> None:
    """Each row keeps what it would keep alone, one row after another."""
    scores = (random(len(counts), width) * 8).round() / 8
    offsets = torch.tensor([0, *counts]).cumsum(0).int()
    alone = [
        select.keep_largest(row[None], kept, group=group, first=5, backend="torch", **options)[0]
        for row, kept in zip(scores, counts, strict=True)
    ]
    for backend in ("triton", "torch"):
        got = select.keep_largest(
            scores, sum(counts), group=group, first=5, offsets=offsets, backend=backend, **options
        )
        assert got.dtype == torch.int32 and torch.equal(got, torch.cat(alone)), (backend, got)


def cases() -> Iterator[tuple[str, Callable[[], None]]]:
    """Every case with its name."""
    for name, (rows, width, count, group) in ROWS.items():
        exact = (random(rows, width) * 8).round() / 8  # sums do not depend on their order
        yield f"keep_{name}", lambda s=exact, c=count, g=group: same(s, c, group=g)
        yield f"keep_{name}_first", lambda s=exact, c=count, g=group: same(s, c, group=g, first=7)
        yield f"keep_{name}_f16", lambda s=exact, c=count, g=group: same(s.half(), c, group=g)
    wide = random(3, 90)
    yield "keep_strided", lambda: same(torch.cat([wide, wide], 1)[:, 4:60], 20)
    yield "keep_transposed", lambda: same(wide.T.contiguous().T, 20)
    for number, scores in enumerate(ties()):
        for count in (1, 30, 45, 89):
            yield f"ties_{number}_{count}", lambda s=scores, c=count: same(s, c)
    logs, prior = (random(4, 96) * 3).round() / 2, torch.ones(96)
    prior[::5], prior[::7] = 0.0, 2.0
    yield "prior_and_limit", lambda: same(logs, 40, prior=prior, limit=2.0)
    for name, rows in RAGGED.items():
        yield f"ragged_{name}", lambda r=rows: ragged(*r)
    weights = torch.ones(301)
    yield "ragged_prior", lambda: ragged(*RAGGED["any"], prior=weights, limit=2.0)
    for name, sizes in MEANS.items():
        for dtype in (torch.float32, torch.float16):
            yield f"means_{name}_{dtype.itemsize}", lambda s=sizes, t=dtype: means(*s, t)


if __name__ == "__main__":
    report(cases())
