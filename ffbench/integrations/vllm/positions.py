"""Which rows of a serving batch run sparse, and in which blocks.

A batch mixes decode tokens with chunks of several prompts, and chunks begin anywhere. Blocks begin
at multiples of the block size in each prompt, so chunks of whole blocks give the same blocks as one
pass. A block that two chunks share is split: each part chooses from the tokens that it has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ffbench.methods.plan import PlanSettings
from ffbench.models.block_ffn import sparse_span


@dataclass(frozen=True, kw_only=True)
class RequestRows:
    """Rows start..end of a batch that belong to one request, the first at token `offset` of it.

    prompt_tokens: length of the request's prompt; tokens from there on are decoded.
    """

    start: int
    end: int
    offset: int
    prompt_tokens: int


@dataclass(frozen=True)
class RowBlock:
    """Rows start..end of a batch that share one choice of neurons."""

    start: int
    end: int


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


def sparse_blocks(
    request: RequestRows, settings: PlanSettings, min_tokens: int = 0
) -> list[RowBlock]:
    """The request's sparse blocks in this pass, in order; all its other rows are dense.

    Prompts below `min_tokens` are dense.
    """
    prompt = min(request.end - request.start, max(request.prompt_tokens - request.offset, 0))
    if not prompt or request.prompt_tokens < min_tokens:
        return []
    span = sparse_span(settings, prompt, offset=request.offset, total=request.prompt_tokens)
    size, first, end = settings.block_size, request.start + span.start, request.start + span.end
    blocks = []
    while first < end:
        position = request.offset + first - request.start
        following = min(first + size - position % size, end)
        blocks.append(RowBlock(first, following))
        first = following
    return blocks
