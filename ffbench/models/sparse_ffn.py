"""One FFN on prompts by a plan: dense at both ends, sparse blocks between."""

from collections.abc import Callable
from itertools import accumulate

import torch
from torch import Tensor

from ffbench.methods.groups import Kept
from ffbench.methods.plan import LayerPlan, SparsePlan
from ffbench.methods.selectors import Selector
from ffbench.methods.similar_blocks import SIMILAR
from ffbench.methods.token_rules import TokenRule
from ffbench.models.adapters import GatedFFN
from ffbench.models.block_ffn import BlockChooser, SparseSpan, rectangle, sparse_span
from ffbench.models.prefill_state import Prefill
from ffbench.models.token_ffn import token_forward
from ffbench.models.uneven_blocks import table
from ffkernels import dense_gated_ffn, sparse_gated_ffn


def prompt_span(plan: SparsePlan, prompt: Prefill, row: int, tokens: int) -> SparseSpan:
    """The sparse rows of this pass's `tokens` tokens of one prompt of the batch; none if the prompt
    is too short to gain.
    """
    offset, total = prompt.offsets[row], prompt.prompt_tokens
    dense_from = None if prompt.dense_from is None else prompt.dense_from[row]
    span = sparse_span(plan.settings, tokens, offset=offset, total=total, dense_from=dense_from)
    if prompt.too_short(total or offset + tokens, plan.min_tokens):
        return SparseSpan(span.start, span.start, offset)
    return span


def counts(kept: Kept) -> list[int]:
    """How many neurons each block keeps."""
    if isinstance(kept, Tensor):
        return [kept.shape[1]] * len(kept)
    return [len(row) for row in kept]


def split(
    x: Tensor, z: Tensor | None, leading: int
) -> tuple[tuple[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]:
    """The first tokens of x [T, d] and of features z [T, r], and the others."""
    if z is None:
        return (x[:leading], None), (x[leading:], None)
    return (x[:leading], z[:leading]), (x[leading:], z[leading:])


class SparseFFN:
    """One FFN on prompts: dense at both ends, sparse blocks between."""

    def __init__(
        self, ffn: GatedFFN, layer: LayerPlan, plan: SparsePlan, prompt: Prefill, backend: str
    ) -> None:
        device = ffn.w_gate.device
        self.plan, self.prompt, self.backend, self.ffn = plan, prompt, backend, ffn
        self.layer = layer.permuted().on(device)
        self.dense_forward = self.module_forward()
        # a view where it is stored so (`down_rows`)
        self.w_down_t = ffn.w_down.T.contiguous()
        self.chooser = BlockChooser(ffn, self.layer, plan.settings, permuted=True)
        self.compensation = self.layer.compensation.runtime(self.w_down_t, layer.hot, ffn.act)
        selector = plan.settings.selector
        if device.type != "cpu" and isinstance(selector, Selector):
            self.compensation = self.compensation.joined()
        self.stays_on_card = (
            device.type != "cpu"
            and plan.settings.scheduler.per_block is not None
            and not self.compensation.reads_kept
        )
        self.keeps_before = isinstance(selector, Selector) and selector.reads_earlier_tokens
        self.before: dict[int, Tensor] = {}

    @property
    def waits(self) -> str | None:
        """Why the host waits for the card in every prefill, or None."""
        settings = self.plan.settings
        if self.ffn.w_gate.device.type == "cpu":
            return None
        if settings.blocks == SIMILAR:
            return "blocks=similar looks for similar tokens round by round; blocks=sorted does not"
        if settings.scheduler.per_block is not None and self.compensation.reads_kept:
            return "blocks keep different numbers of neurons, which the compensator reads"
        return None

    def module_forward(self) -> Callable[[Tensor], Tensor]:
        """The dense FFN as the model computes it, one of several experts by plain products."""
        return self.ffn.module.forward if self.ffn.expert is None else self.ffn.output

    def enter(self, prompt: Prefill) -> None:
        """Begin to run prompts that `prompt` counts; the weights are as when this was made."""
        self.prompt, self.before = prompt, {}
        self.dense_forward = self.module_forward()
        if not self.w_down_t.numel():
            self.w_down_t = self.ffn.w_down.T.contiguous()

    def leave(self) -> None:
        """Let go of the down rows on a card: the weight is about to be stored in another order."""
        if self.ffn.w_down.device.type != "cpu":
            self.w_down_t = self.w_down_t.new_empty(0)

    def dense(self, x: Tensor) -> Tensor:
        """Dense FFN of x [T, d]: our kernel on a CPU, on a card the module's own products, which
        are faster for the few tokens of a prompt's ends.
        """
        if x.device.type != "cpu":
            return self.dense_forward(x)
        return dense_gated_ffn(
            x, self.ffn.w_gate, self.ffn.w_up, self.w_down_t, self.ffn.activation
        )

    def sparse(self, before: Tensor, x: Tensor, leading: int = 0) -> Tensor:
        """Sparse FFN of x [T, d], by blocks or, for a token rule, by its own dense form.

        The first block has `leading` tokens if that is not 0.
        """
        selector = self.plan.settings.selector
        if isinstance(selector, TokenRule):
            y, share = token_forward(self.ffn, self.layer, selector, x)
        elif self.layer.whole and self.prompt.chosen is None:
            self.prompt.used += len(self.layer.order) * len(x)
            return self.dense(x)
        else:
            y, share = self.by_blocks(before, x, leading)
        self.prompt.used += round(share * len(self.layer.order) * len(x))
        return self.compensation.add_output(y, x)

    def by_blocks(self, before: Tensor, x: Tensor, leading: int) -> tuple[Tensor, float]:
        """FFN of x [T, d] with each block's own neurons, and the share of neurons computed."""
        z = self.compensation.features(x)
        if not self.chooser.reorders or z is None:
            return self.ordered_blocks(before, x, z, leading)
        order = self.chooser.token_order(x, self.compensation.estimating(z))
        y, share = self.ordered_blocks(before, x.index_select(0, order), z.index_select(0, order))
        return torch.empty_like(y).index_copy_(0, order, y), share

    def ordered_blocks(
        self, before: Tensor, x: Tensor, z: Tensor | None, leading: int = 0
    ) -> tuple[Tensor, float]:
        """`by_blocks` for tokens that are in the order of their blocks, with the compensator's
        features z [T, r].
        """
        if self.stays_on_card and self.prompt.chosen is None:
            return self.uneven_blocks(before, x, z, leading)
        size, hot = self.plan.settings.block_size, self.layer.hot
        kept = self.chooser.dynamic_of(before, x, leading)
        if self.prompt.chosen is not None:
            self.prompt.chosen.append((self.ffn.layer, rectangle(kept)))
        if not leading:
            y = self.kept_output(x, z, kept)
        else:
            head, rest = split(x, z, leading)
            rows = ((*head, kept[:1]), (*rest, kept[1:]))
            y = torch.cat([self.kept_output(*part) for part in rows if len(part[0])])
        lengths = [leading] if leading else []
        lengths += [min(size, len(x) - at) for at in range(leading, len(x), size)]
        used = sum((n + hot) * tokens for n, tokens in zip(counts(kept), lengths, strict=True))
        return y, used / (len(self.layer.order) * len(x))

    def uneven_blocks(
        self, before: Tensor, x: Tensor, z: Tensor | None, leading: int
    ) -> tuple[Tensor, float]:
        """`ordered_blocks` on a card for blocks that share their neurons out among themselves."""
        parts = self.chooser.uneven_parts(before, x, leading)
        if leading:
            head, rest = split(x, z, leading)
            rows = ((*head, parts[:1]), (*rest, parts[1:]))
            y = torch.cat([self.kept_by_table(a, b, *table(own)) for a, b, own in rows if own])
        else:
            y = self.kept_by_table(x, z, *table(parts))
        used = self.layer.hot * len(x) + sum(part.neuron_tokens for part in parts)
        return y, used / (len(self.layer.order) * len(x))

    def kept_output(self, x: Tensor, z: Tensor | None, kept: Kept) -> Tensor:
        """The kept neurons' part of x [T, d] with the compensator's estimate; dynamic neurons of
        each block in `kept`. One call of the kernel, also if blocks keep different numbers.
        """
        numbers = counts(kept)
        if len(set(numbers)) == 1:
            return self.kept_by_table(x, z, rectangle(kept), None, kept)
        bounds = torch.tensor([0, *accumulate(numbers)], device=x.device)
        return self.kept_by_table(x, z, torch.cat(list(kept)), bounds, kept)

    def kept_by_table(
        self,
        x: Tensor,
        z: Tensor | None,
        indices: Tensor,
        offsets: Tensor | None,
        kept: Kept | None = None,
    ) -> Tensor:
        """`kept_output` for neurons as the kernel takes them; kept: the same, if the compensator
        reads them.
        """
        y = self.multiply(x, z, indices, offsets)
        size = self.plan.settings.block_size
        return self.compensation.add_skipped(y, x, z, [] if kept is None else kept, size)

    def multiply(
        self, x: Tensor, z: Tensor | None, indices: Tensor, offsets: Tensor | None
    ) -> Tensor:
        """The kernel's call: y [T, d] of x [T, d] with features z [T, r], neurons as it takes
        them.
        """
        c = self.compensation
        return sparse_gated_ffn(
            x,
            self.ffn.w_gate,
            self.ffn.w_up,
            self.w_down_t,
            indices,
            self.plan.settings.block_size,
            offsets=offsets,
            hot=self.layer.hot,
            activation=self.ffn.activation,
            z=None if z is None or c.activation_map is None else c.estimating(z),
            v=None if z is None else c.activation_map,
            c=c.mean,
            extra=None if c.output_rows is None else z,
            w_extra=c.output_rows,
            group=self.plan.settings.group_size,
            backend=self.backend,
        )

    def spanned(self, x: Tensor, span: SparseSpan, row: int = 0) -> Tensor:
        """FFN of a prompt's tokens x [T, d] without padding, of which those of `span` run
        sparse.
        """
        settings, prompt = self.plan.settings, self.prompt
        f, start, end = len(self.layer.order), span.start, span.end
        prompt.total += f * len(x)
        prompt.used += f * (len(x) - len(span))
        if span.offset <= 0:
            self.before.pop(row, None)
        if start and self.keeps_before:  # the first tokens may come in several chunks
            self.before[row] = torch.cat([self.before.get(row, x[:0]), x[:start]])
        if not len(span):
            return self.dense(x)
        edges = self.dense(torch.cat([x[:start], x[end:]])) if len(span) < len(x) else x[:0]
        before = self.before.get(row, x[:0])
        if self.chooser.reads_previous:
            self.before[row] = x[max(start, end - settings.block_size) : end]
        middle = self.sparse(before, x[start:end], span.leading(settings.block_size))
        return torch.cat([edges[:start], middle, edges[start:]])

    def forward(self, x: Tensor) -> Tensor:
        """The module's forward: x [batch, T, d], or [batch * T, d] as some layers give to a shared
        expert; padding rows give zeros and count nowhere.
        """
        real = self.prompt.real
        # one token each: a prompt's last token, by the final-layer rule
        if real is None or x.shape[:-1].numel() == len(real):
            return self.dense_forward(x)
        if x.dim() == 2:
            return self.forward(x.unflatten(0, (len(real), -1))).flatten(0, 1)
        parts = [x[i, real[i]] for i in range(len(x))]
        rows = [
            self.spanned(part, prompt_span(self.plan, self.prompt, i, len(part)), i)
            for i, part in enumerate(parts)
        ]
        if all(len(row) == x.shape[1] for row in rows):
            return rows[0].unsqueeze(0) if len(rows) == 1 else torch.stack(rows)
        y = torch.zeros_like(x)
        for i, row in enumerate(rows):
            y[i, real[i]] = row
        return y
