"""Blocks of a serving batch against a token-by-token rule."""

from types import SimpleNamespace
from typing import Any

import pytest

from ffbench.integrations.vllm.positions import RequestRows, requests_of, sparse_blocks

SETTINGS: Any = SimpleNamespace(block_size=8, first_dense=5, last_dense=7)


def token_blocks(prompt: int, chunks: list[int], min_tokens: int = 0) -> list[list[int]]:
    """Absolute positions of every sparse block of a prompt that comes in chunks."""
    found, offset = [], 0
    for chunk in chunks:
        request = RequestRows(start=3, end=3 + chunk, offset=offset, prompt_tokens=prompt)
        for block in sparse_blocks(request, SETTINGS, min_tokens):
            found.append([row - 3 + offset for row in range(block.start, block.end)])
        offset += chunk
    return found


def expected(prompt: int) -> list[list[int]]:
    blocks: dict[int, list[int]] = {}
    for position in range(prompt):
        if 5 <= position < prompt - 7:
            blocks.setdefault(position // 8, []).append(position)
    return list(blocks.values())


@pytest.mark.parametrize("prompt", [1, 12, 13, 40, 61])
def test_one_pass_follows_absolute_positions(prompt: int) -> None:
    assert token_blocks(prompt, [prompt]) == expected(prompt)


def test_chunks_of_whole_blocks_give_the_blocks_of_one_pass() -> None:
    assert token_blocks(61, [16, 8, 24, 13]) == token_blocks(61, [61])


def test_a_chunk_that_begins_anywhere_splits_one_block() -> None:
    split = token_blocks(61, [20, 41])
    assert [16, 17, 18, 19] in split and [20, 21, 22, 23] in split
    assert sum(split, []) == sum(expected(61), [])


def test_decoded_and_short_prompts_are_dense() -> None:
    assert token_blocks(30, [30], min_tokens=31) == []
    assert token_blocks(30, [30], min_tokens=30) == expected(30)
    decode = RequestRows(start=0, end=1, offset=40, prompt_tokens=40)
    assert sparse_blocks(decode, SETTINGS) == []


def test_mixed_batch() -> None:
    requests = requests_of([0, 1, 21], [41, 50], [40, 61])
    assert [(r.start, r.end, r.offset) for r in requests] == [(0, 1, 40), (1, 21, 30)]
    assert sparse_blocks(requests[0], SETTINGS) == []
    assert [(b.start, b.end) for b in sparse_blocks(requests[1], SETTINGS)] == [
        (1, 3),
        (3, 11),
        (11, 19),
        (19, 21),
    ]


@pytest.mark.parametrize(
    ("starts", "lengths", "text"),
    [([0, 4], [3], "request 0: 4 rows do not fit 3 tokens"), ([0], [3], "expected 2 first rows")],
)
def test_numbers_that_do_not_fit(starts: list[int], lengths: list[int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        requests_of(starts, lengths, [3])
