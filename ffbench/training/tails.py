"""Windows cut into a sparse context and the dense tails that read it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ffbench.methods.objective import COPY_LEAD
from ffbench.methods.plan import PlanSettings

CONTEXT_TOKENS = 768  # prompt tokens of a training window, dense first ones included
TAIL_TOKENS = 256  # of the text after the context
COPY_TOKENS = 128  # of the context, repeated after the text


@dataclass(frozen=True)
class TailWindow:
    """Token ids [T]: a context whose tokens first..end run sparse, the text's own tail, and a
    passage of the context again.

    positions: by objective, the positions whose predictions count. The last context token's own
    prediction is part of no answer: a tail begins after it.
    """

    ids: Tensor
    first: int
    end: int
    positions: dict[str, Tensor]


def tail_window(ids: Tensor, first: int, end: int) -> TailWindow:
    """The window of ids [n] whose context ends at `end`, with a copied passage appended.

    The passage is taken from the middle of the sparse tokens first..end. Raises ValueError if the
    text has no tail or the context no sparse token.
    """
    if not first < end < len(ids) - 1:
        raise ValueError(f"tail_window: context {first}..{end} of {len(ids)} tokens leaves no tail")
    length = min(COPY_TOKENS, end - first)
    start = first + (end - first - length) // 2
    copied = ids[start : start + length]
    lead = min(COPY_LEAD, length // 2)
    return TailWindow(
        torch.cat([ids, copied]),
        first,
        end,
        {
            "continuation": torch.arange(end, len(ids) - 1),
            "copy": torch.arange(len(ids) + lead - 1, len(ids) + length - 1),
            "full": torch.arange(first, end),
        },
    )


def window_length() -> int:
    """Tokens of text that a window needs."""
    return CONTEXT_TOKENS + TAIL_TOKENS


def tail_windows(windows: Tensor, first: int) -> list[TailWindow]:
    """Windows of text ids [n, T] as contexts and tails; the context takes three quarters of T."""
    length = windows.shape[1]
    end = round(length * CONTEXT_TOKENS / window_length())
    return [tail_window(ids, min(first, end // 2), end) for ids in windows]


def block_tail_windows(windows: Tensor, settings: PlanSettings) -> list[TailWindow]:
    """The same with contexts that hold whole blocks of a plan after its dense first tokens."""
    size, length = settings.block_size, windows.shape[1]
    first = -(-settings.first_dense // size) * size
    wanted = round(length * CONTEXT_TOKENS / window_length())
    blocks = max(1, round((wanted - first) / size))
    while blocks > 1 and first + blocks * size > length - 2:
        blocks -= 1
    return [tail_window(ids, first, first + blocks * size) for ids in windows]
