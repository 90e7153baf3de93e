"""What a forward pass is: a prompt, a part of one, or decoding; and counts over all prompts."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

logger = logging.getLogger(__name__)


@dataclass
class Prefill:
    """What the next forward pass is, and counts of FFN neuron-tokens in prompts so far.

    real: each row's real tokens in the current prompt [batch, T], None outside one. offsets: how
    many real tokens of each row are in the cache already. dense_from: for each row the first of its
    real tokens from which on all are dense, in place of the plan's dense tokens at the end.
    prompt_tokens: length of the whole prompt if it comes in chunks; None: a pass ends its prompt.
    cached: tokens that the cache holds before the next pass; None: the cache is asked, which makes
    the host wait if it keeps the number on a card.
    While `paused`, passes of several tokens are dense, as those of one token always are. If
    `chosen` is a list, each layer's number and the dynamic neurons [blocks, K] of a prompt's sparse
    blocks are appended to it.
    """

    real: list[slice | Tensor] | None = None
    offsets: list[int] = field(default_factory=list)
    dense_from: Sequence[int] | None = None
    prompt_tokens: int | None = None
    cached: int | None = None
    paused: bool = False
    used: int = 0
    total: int = 0
    chosen: list[tuple[int, Tensor]] | None = None
    short_reported: bool = False

    @property
    def density(self) -> float:
        """Share of the prompts' neurons that was computed."""
        return self.used / self.total if self.total else 1.0

    def too_short(self, tokens: int, least: int) -> bool:
        """Whether a prompt is below the plan's break-even length; reported once."""
        if tokens < least and not self.short_reported:
            self.short_reported = True
            logger.warning(
                "a prompt of %d tokens runs dense: this plan pays off from %d tokens (measured)",
                tokens,
                least,
            )
        return tokens < least


def cached_tokens(kwargs: dict[str, Any]) -> int:
    """Tokens that the cache holds before this pass."""
    # transformers 5.24 calls the argument `cache`; older versions know the other name only
    cache = kwargs.get("cache")
    cache = kwargs.get("past_key_values") if cache is None else cache
    return int(cache.get_seq_length()) if cache is not None else 0


def real_tokens(
    args: tuple[Any, ...], kwargs: dict[str, Any], cached: int | None = None
) -> tuple[list[slice | Tensor] | None, list[int]]:
    """Each row's real tokens in a prompt's pass [batch, T], and those that are in the cache; None
    if the pass decodes one token. cached: as in `Prefill`.

    A slice where padding is on one side or both, which costs no copy; indices where it is between.
    """
    tokens = kwargs.get("input_ids")
    if tokens is None:
        tokens = args[0] if args else kwargs["inputs_embeds"]
    batch, length = tokens.shape[:2]
    if length == 1:
        return None, []
    mask = kwargs.get("attention_mask")
    cached = cached_tokens(kwargs) if cached is None else cached
    if mask is None:
        return [slice(0, length)] * batch, [cached] * batch
    if mask.dim() != 2:
        raise ValueError(f"attention_mask: expected [batch, tokens], received {tuple(mask.shape)}")
    mask, device = mask.cpu(), tokens.device  # the only read of a pass
    if bool(mask.all()):
        return [slice(0, length)] * batch, [cached] * batch
    rows = [as_slice(row.nonzero().flatten()) for row in mask[:, -length:].bool()]
    real = [row if isinstance(row, slice) else row.to(device) for row in rows]
    return real, mask[:, :-length].sum(1).tolist()


def as_slice(positions: Tensor) -> slice | Tensor:
    """Increasing positions as a slice where they are neighbours."""
    if not len(positions):
        return slice(0, 0)
    first, last = int(positions[0]), int(positions[-1])
    return slice(first, last + 1) if last + 1 - first == len(positions) else positions
