"""Rows of a serving batch by request, and which of them run sparse."""

import pytest

from ffbench.integrations.vllm.positions import BatchLayout, RequestRows, batch_layout, requests_of
from ffbench.methods.plan import PlanSettings
from ffbench.methods.plan_files import plan_settings

METHODS = {"selector": "trained", "compensator": "none", "scheduler": "uniform"}


def settings(block: int = 8, first: int = 5, last: int = 7) -> PlanSettings:
    node = {name: {"name": method} for name, method in METHODS.items()}
    sizes = {"block_size": block, "first_dense": first, "last_dense": last}
    return plan_settings(node | sizes | {"sparsity": 0.5})


def request(start: int, end: int, offset: int, prompt: int) -> RequestRows:
    return RequestRows(start=start, end=end, offset=offset, prompt_tokens=prompt)


def blocks_of(layout: BatchLayout, requests: list[RequestRows], block: int) -> list[list[int]]:
    """Positions of the prompt in each block, one rule after another: a slow reference."""
    owners = {row: (r, row - r.start + r.offset) for r in requests for row in range(r.start, r.end)}
    blocks = []
    for part in layout.sparse:
        rows = list(range(part.start, part.end))
        cuts = [rows[: part.leading]] if part.leading else []
        rest = rows[part.leading :]
        cuts += [rest[i : i + block] for i in range(0, len(rest), block)]
        blocks += [[owners[row][1] for row in cut] for cut in cuts]
    return blocks


def test_mixed_batch() -> None:
    requests = requests_of([0, 1, 21], [41, 50], [40, 61])
    assert [(r.start, r.end, r.offset, r.prompt_tokens) for r in requests] == [
        (0, 1, 40, 40),
        (1, 21, 30, 61),
    ]


def test_an_empty_batch_has_no_requests() -> None:
    assert requests_of([0], [], []) == []
    layout = batch_layout(settings(), [], 4)
    assert (layout.sparse, layout.dense, layout.prompt_rows) == ((), (range(4),), 0)


@pytest.mark.parametrize(
    ("starts", "lengths", "text"),
    [([0, 4], [3], "request 0: 4 rows do not fit 3 tokens"), ([0], [3], "expected 2 first rows")],
)
def test_numbers_that_do_not_fit(starts: list[int], lengths: list[int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        requests_of(starts, lengths, [3])


@pytest.mark.parametrize("rows", [[0, 9, 8, 12], [0, 9, 9, 14]])
def test_requests_that_overlap_or_exceed_the_batch_are_refused(rows: list[int]) -> None:
    requests = [request(rows[0], rows[1], 0, 9), request(rows[2], rows[3], 0, 9)]
    with pytest.raises(ValueError, match="overlap another one or exceed the batch of 13 rows"):
        batch_layout(settings(), requests, 13)


@pytest.mark.parametrize("size", [8, 16, 24, 61, 7])
def test_chunks_cut_blocks_only_where_they_begin_inside_one(size: int) -> None:
    whole = [request(0, 61, 0, 61)]
    expected = blocks_of(batch_layout(settings(), whole, 61), whole, 8)
    assert expected[0] == [5, 6, 7] and expected[-1] == [48, 49, 50, 51, 52, 53]
    found = []
    for offset in range(0, 61, size):
        part = [request(0, min(size, 61 - offset), offset, 61)]
        layout = batch_layout(settings(), part, part[0].end)
        found += blocks_of(layout, part, 8)
    assert sorted(sum(found, [])) == sorted(sum(expected, [])) == list(range(5, 54))
    assert (found == expected) == (size != 7)
    # a cut block is a part of one block, never of two
    assert all(block[0] // 8 == block[-1] // 8 for block in found)


def test_rows_are_sparse_or_dense_and_never_both() -> None:
    requests = [
        request(0, 1, 61, 61),  # decodes
        request(1, 31, 12, 61),  # a chunk in the middle
        request(31, 40, 0, 9),  # a prompt shorter than its dense ends
        request(40, 60, 50, 61),  # a prompt's end, and tokens decoded before (after a preemption)
    ]
    layout = batch_layout(settings(), requests, 64)
    sparse = [row for part in layout.sparse for row in range(part.start, part.end)]
    dense = [row for part in layout.dense for row in part]
    assert sorted(sparse + dense) == list(range(64))
    assert sparse == list(range(1, 31)) + list(range(40, 44))
    assert layout.prompt_rows == 30 + 9 + 11


def test_prompts_below_the_break_even_length_are_dense() -> None:
    requests = [request(0, 61, 0, 61)]
    assert batch_layout(settings(), requests, 61, min_tokens=61).sparse
    layout = batch_layout(settings(), requests, 61, min_tokens=62)
    assert not layout.sparse and layout.prompt_rows == 61
