"""Blocks that keep different numbers of neurons, on a card: how many each keeps stays there, so
that the host need not wait.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ffbench.methods.block_counts import block_counts, neurons_shared
from ffkernels import keep_largest


@dataclass(frozen=True)
class UnevenBlocks:
    """Kept dynamic neurons of blocks of one size.

    positions: int32, those of one block after another; offsets: int32 [blocks + 1], where each
    block's begin, and their end; tokens: of each block.
    """

    positions: Tensor
    offsets: Tensor
    tokens: int

    @property
    def neuron_tokens(self) -> int:
        """Kept dynamic neurons times tokens, over all blocks."""
        return len(self.positions) * self.tokens


def shared_out(
    scores: Tensor, total: int, rule: str, tile: int, *, group: int, first: int, tokens: int
) -> UnevenBlocks:
    """The neurons of blocks of `tokens` tokens that share `total` among themselves by a rule of
    `block_counts`; scores [n, m] of the neurons from `first` on, in groups.
    """
    counts = block_counts(scores, total, rule, tile)
    blocks, neurons = scores.shape
    kept = neurons_shared(blocks, neurons, total, rule, tile)
    offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0)).int()
    positions = keep_largest(scores, kept, group=group, first=first, offsets=offsets)
    return UnevenBlocks(positions, offsets, tokens)


def table(parts: Sequence[UnevenBlocks]) -> tuple[Tensor, Tensor]:
    """Positions and offsets of the blocks of all parts, one after another."""
    if len(parts) == 1:
        return parts[0].positions, parts[0].offsets
    offsets, before = [parts[0].offsets], len(parts[0].positions)
    for part in parts[1:]:
        offsets.append(part.offsets[1:] + before)
        before += len(part.positions)
    return torch.cat([part.positions for part in parts]), torch.cat(offsets)
