"""Cut a prompt into blocks, order its tokens and choose each block's neurons.

One body for prefill, training and selection metrics, which differ only in what they compute with
the chosen neurons.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ffbench.methods.block_counts import TILE, block_counts
from ffbench.methods.groups import Kept, best
from ffbench.methods.plan import LayerPlan, PlanSettings, block_problem
from ffbench.methods.selectors import Selector, SelectorInputs
from ffbench.methods.similar_blocks import CONSECUTIVE, SIMILAR, SORTED, sorted_order
from ffbench.methods.similar_blocks import token_order as similar_order
from ffbench.methods.token_scale import token_scale
from ffbench.models.adapters import GatedFFN
from ffbench.models.uneven_blocks import UnevenBlocks, shared_out
from ffkernels import block_means, keep_largest

LAYER_SEED = (
    1009  # a prime: plans whose seeds differ by one share no layer's seed below 1009 layers
)


@dataclass(frozen=True)
class SparseSpan:
    """Tokens of a prompt that run sparse: rows start..end of a pass whose first row is token
    `offset` of the prompt.
    """

    start: int
    end: int
    offset: int = 0

    def __len__(self) -> int:
        return max(self.end - self.start, 0)

    def leading(self, block_size: int) -> int:
        """Rows before the first block that begins inside the span: blocks begin at multiples of the
        block size, counted from the prompt's first token, so that chunks of whole blocks give the
        same blocks as one pass.
        """
        return min(-(self.offset + self.start) % block_size, len(self))


def sparse_span(
    settings: PlanSettings,
    tokens: int,
    *,
    offset: int = 0,
    total: int | None = None,
    dense_from: int | None = None,
) -> SparseSpan:
    """The sparse rows of a pass over `tokens` tokens that begins at token `offset` of a prompt.

    total: tokens of the whole prompt (None: the pass ends it). dense_from: row from which all
    tokens are dense, in place of the plan's dense tokens at the end.
    """
    start = min(max(settings.first_dense - offset, 0), tokens)
    if dense_from is None:
        end = (offset + tokens if total is None else total) - settings.last_dense - offset
    else:
        end = dense_from
    return SparseSpan(start, max(min(end, tokens), start), offset)


class BlockChooser:
    """Chooses the neurons of one layer's blocks by a plan.

    The layer's plan and the FFN's weights have the same order of neurons; positions of dynamic
    neurons are in the plan's order, after the hot ones. permuted: both are in the plan's order, as
    after `LayerPlan.permuted`, so that scores need not be brought into it.
    """

    def __init__(
        self, ffn: GatedFFN, layer: LayerPlan, settings: PlanSettings, permuted: bool = False
    ) -> None:
        if problem := block_problem(settings):
            raise ValueError(f"blocks: {problem}")
        self.ffn, self.layer, self.settings, self.permuted = ffn, layer, settings, permuted
        self.down_norms = ffn.w_down.float().norm(dim=0)
        if "importance" in layer.statistics.values:
            importance = layer.statistics["importance"].to(self.down_norms)
            self.down_norms = self.down_norms * importance.sqrt()
        self.seed = settings.seed * LAYER_SEED + ffn.layer

    @property
    def reorders(self) -> bool:
        """Whether blocks hold other tokens than consecutive ones."""
        return self.settings.blocks != CONSECUTIVE

    @property
    def reads_previous(self) -> bool:
        """Whether each block's neurons depend on the block before it."""
        selector = self.settings.selector
        return isinstance(selector, Selector) and selector.needs_text_order

    def token_order(self, x: Tensor, features: Tensor) -> Tensor:
        """Order [T] in which each block's tokens follow one another; x [T, d], features [T, r]."""
        size = self.settings.block_size
        if self.settings.blocks == SIMILAR:
            return similar_order(features, size)
        return sorted_order(token_scale(self.layer, x, features), size)

    def block_scale(self, blocks: Tensor) -> Tensor:
        """Predicted residual energy [n] of blocks [n, B, d] over the mean."""
        rows = blocks.flatten(0, 1)
        z = self.layer.compensation.features(rows)
        return token_scale(self.layer, rows, z).view(blocks.shape[:2]).mean(1)

    def activations(self, x: Tensor) -> Tensor:
        """Exact activations [T, f] of x [T, d]."""
        return self.ffn.activations(x)

    def scores(self, before: Tensor, blocks: Tensor) -> Tensor:
        """The selector's scores [n, f] of blocks [n, B, d]; before [B, d]: the block ahead."""
        selector = self.settings.selector
        assert isinstance(selector, Selector)
        return selector.scores(
            SelectorInputs(
                self.layer,
                before,
                blocks,
                self.activations,
                self.ffn.act,
                self.down_norms,
                self.seed,
                self.block_scale if self.settings.blocks == SORTED else None,
            )
        )

    def dynamic_scores(self, before: Tensor, blocks: Tensor) -> Tensor:
        """Scores [n, f - hot] of the dynamic neurons in the plan's order; blocks [n, B, d]."""
        scores, hot = self.scores(before, blocks), self.layer.hot
        return scores[:, hot:] if self.permuted else scores[:, self.layer.order[hot:]]

    def dynamic(self, before: Tensor, blocks: Tensor) -> Kept:
        """Sorted positions of each block's dynamic neurons: kept - hot of them, on average if the
        scheduler shares them by block.
        """
        layer, group = self.layer, self.settings.group_size
        scores = self.dynamic_scores(before, blocks)
        count, rule = layer.kept - layer.hot, self.settings.scheduler.per_block
        if rule is None:
            return largest(scores, count, group, layer.hot)
        counts = block_counts(scores, count * len(blocks), rule, max(TILE, group)).tolist()
        if len(set(counts)) == 1:
            return largest(scores, counts[0], group, layer.hot)
        return [
            largest(row[None], kept, group, layer.hot)[0]
            for row, kept in zip(scores, counts, strict=True)
        ]

    def uneven_parts(self, before: Tensor, x: Tensor, leading: int) -> list[UnevenBlocks]:
        """`dynamic_of` for blocks that share their neurons out, without a read on the host: the
        leading block, the whole ones and the short one share apart.
        """
        layer, group, rule = self.layer, self.settings.group_size, self.settings.scheduler.per_block
        assert rule is not None
        return [
            shared_out(
                self.dynamic_scores(ahead, blocks),
                (layer.kept - layer.hot) * len(blocks),
                rule,
                max(TILE, group),
                group=group,
                first=layer.hot,
                tokens=blocks.shape[1],
            )
            for ahead, blocks in self.parts(before, x, leading)
        ]

    def parts(self, before: Tensor, x: Tensor, leading: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Blocks [n, B, d] of x [T, d] that have one size, each time with the block before them:
        the first of `leading` tokens if there are any, then whole blocks, then a short one.
        """
        size, width = self.settings.block_size, x.shape[1]
        if leading:
            yield before, x[:leading].unsqueeze(0)
            before, x = x[:leading] if self.reads_previous else before, x[leading:]
        whole = len(x) // size * size
        if whole:
            yield before, x[:whole].view(-1, size, width)
            before = x[whole - size : whole] if self.reads_previous else before
        if whole < len(x):
            yield before, x[whole:].unsqueeze(0)

    def dynamic_of(self, before: Tensor, x: Tensor, leading: int = 0) -> Kept:
        """`dynamic` of all blocks of x [T, d]: the first of `leading` tokens if there are any, then
        whole blocks, then a short one. A short block selects from its own tokens only.
        """
        if self.settings.scheduler.per_block is not None:
            return [row for part in self.parts(before, x, leading) for row in self.dynamic(*part)]
        if self.permuted and x.device.type != "cpu" and (kept := self.ranked_on_card(x, leading)):
            return kept[0] if len(kept) == 1 else torch.cat(kept)
        scores = [self.dynamic_scores(*part) for part in self.parts(before, x, leading)]
        joined = scores[0] if len(scores) == 1 else torch.cat(scores)
        layer = self.layer
        return largest(joined, layer.kept - layer.hot, self.settings.group_size, layer.hot)

    def ranked_on_card(self, x: Tensor, leading: int) -> list[Tensor]:
        """`dynamic_of` in three launches: block means, the selector's product, and the choice; a
        table for the leading block and one for the others. Empty for a selector without that form.
        """
        settings, layer, selector = self.settings, self.layer, self.settings.selector
        kept = []
        for rows in (x[:leading], x[leading:]):
            assert isinstance(selector, Selector)
            if not len(rows):
                continue
            means = partial(block_means, rows, settings.block_size)
            if (ratios := selector.log_ratios(layer, means)) is None:
                return []
            kept.append(
                keep_largest(
                    ratios.logs[:, layer.hot :],
                    layer.kept - layer.hot,
                    group=settings.group_size,
                    first=layer.hot,
                    prior=ratios.prior[layer.hot :],
                    limit=ratios.limit,
                )
            )
        return kept

    def neurons(self, positions: Kept) -> tuple[Tensor, Tensor | None]:
        """Neurons [n, K] of the weights for dynamic positions of n blocks, the hot ones first, and
        which of them are real (`padded`), hot ones included.
        """
        order, hot = self.layer.order, self.layer.hot
        rows, real = padded(positions)
        if real is not None and hot:
            real = torch.cat([real.new_ones(len(rows), hot), real], 1)
        first = torch.arange(hot, device=rows.device).expand(len(rows), -1)
        return order[torch.cat([first, rows], 1)], real


def largest(scores: Tensor, count: int, group: int, first: int) -> Tensor:
    """`groups.best`; on a card int32, in one launch."""
    if scores.device.type == "cpu":
        return best(scores, count, group, first)
    return keep_largest(scores, count, group=group, first=first)


def padded(positions: Kept) -> tuple[Tensor, Tensor | None]:
    """Positions [n, K] of n blocks that keep up to K neurons, and 1 for each real one [n, K]; None
    in place of the ones if every block keeps K. Padding repeats a position and counts 0.
    """
    if isinstance(positions, Tensor):
        return positions, None
    most = max(len(row) for row in positions)
    if all(len(row) == most for row in positions):
        return torch.stack(positions), None
    rows, real = [], []
    for row in positions:
        rest = most - len(row)
        rows.append(torch.cat([row, row.new_zeros(rest)]))
        real.append(torch.cat([torch.ones(len(row)), torch.zeros(rest)]).to(row.device))
    return torch.stack(rows), torch.stack(real)


def rectangle(kept: Kept) -> Tensor:
    """Neurons [n, K] of n blocks. Raises ValueError if the blocks keep different numbers."""
    if isinstance(kept, Tensor):
        return kept
    if len({len(row) for row in kept}) > 1:
        raise ValueError(
            "blocks of this plan keep different numbers of neurons, which cannot be put into one "
            "table; choose a scheduler that keeps the same number per block"
        )
    return torch.stack(kept)
