"""Rows of a serving batch by request."""

import pytest

from ffbench.integrations.vllm.positions import requests_of


def test_mixed_batch() -> None:
    requests = requests_of([0, 1, 21], [41, 50], [40, 61])
    assert [(r.start, r.end, r.offset, r.prompt_tokens) for r in requests] == [
        (0, 1, 40, 40),
        (1, 21, 30, 61),
    ]


@pytest.mark.parametrize(
    ("starts", "lengths", "text"),
    [([0, 4], [3], "request 0: 4 rows do not fit 3 tokens"), ([0], [3], "expected 2 first rows")],
)
def test_numbers_that_do_not_fit(starts: list[int], lengths: list[int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        requests_of(starts, lengths, [3])
