"""Which rows of a serving batch belong to which request, and which of them run sparse."""

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


@dataclass(frozen=True, kw_only=True)
class SparseRows:
    """Rows start..end of a batch that run sparse: neighbours in one request's prompt.

    leading: rows before the first block that begins among them; blocks begin at multiples of the
    block size, counted from the prompt's first token.
    """

    start: int
    end: int
    leading: int


@dataclass(frozen=True, kw_only=True)
class BatchLayout:
    """How the rows of a batch run: `sparse` by a plan, the ranges `dense` in one dense call.

    prompt_rows: rows that belong to a prompt, dense ones included.
    """

    sparse: tuple[SparseRows, ...]
    dense: tuple[range, ...]
    prompt_rows: int


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


def batch_layout(
    settings: PlanSettings, requests: Sequence[RequestRows], rows: int, min_tokens: int = 0
) -> BatchLayout:
    """The layout of a batch of `rows` rows: prompts by the settings, all other rows dense.

    Prompts below `min_tokens` run dense. Rows of no request (padding) and decoded tokens are dense.
    Raises ValueError if requests overlap, are not in the order of their rows or exceed the batch.
    """
    sparse: list[SparseRows] = []
    dense: list[range] = []
    done = reached = prompt_rows = 0
    for request in requests:
        if request.start < reached or request.end > rows:
            raise ValueError(
                f"rows {request.start}..{request.end} of a request overlap another one or exceed "
                f"the batch of {rows} rows"
            )
        reached = request.end
        count = max(min(request.end - request.start, request.prompt_tokens - request.offset), 0)
        prompt_rows += count
        if request.prompt_tokens < min_tokens:
            continue
        span = sparse_span(settings, count, offset=request.offset, total=request.prompt_tokens)
        if not len(span):
            continue
        start = request.start + span.start
        if start > done:
            dense.append(range(done, start))
        done = start + len(span)
        sparse.append(SparseRows(start=start, end=done, leading=span.leading(settings.block_size)))
    if done < rows:
        dense.append(range(done, rows))
    return BatchLayout(sparse=tuple(sparse), dense=tuple(dense), prompt_rows=prompt_rows)
