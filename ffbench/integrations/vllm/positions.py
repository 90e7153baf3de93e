"""Which rows of a serving batch belong to which request, and at which positions of it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RequestRows:
    """Rows start..end of a batch that belong to one request, the first at token `offset` of it.

    prompt_tokens: length of the request's prompt; tokens from there on are decoded.
    """

    start: int
    end: int
    offset: int
    prompt_tokens: int


def requests_of(
    query_starts: Sequence[int], lengths: Sequence[int], prompt_tokens: Sequence[int]
) -> list[RequestRows]:
    """The requests of a batch of n requests.

    query_starts: n + 1 first rows. lengths: each request's tokens after this pass, cached ones
    included. Raises ValueError if the numbers do not fit together.
    """
    n = len(lengths)
    if len(query_starts) != n + 1 or len(prompt_tokens) != n:
        raise ValueError(
            f"batch of {n} requests: expected {n + 1} first rows and {n} prompt lengths, received "
            f"{len(query_starts)} and {len(prompt_tokens)}"
        )
    requests = []
    for i, length in enumerate(lengths):
        start, end = query_starts[i], query_starts[i + 1]
        if not 0 <= end - start <= length:
            raise ValueError(f"request {i}: {end - start} rows do not fit {length} tokens")
        requests.append(
            RequestRows(
                start=start,
                end=end,
                offset=length - (end - start),
                prompt_tokens=prompt_tokens[i],
            )
        )
    return requests
