"""Run a model's prompts through block-sparse FFNs, by a plan, without changing the model."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.plan import LayerPlan, SparsePlan
from ffbench.methods.token_rules import TokenRule
from ffbench.models.adapters import GatedFFN, gated_ffns
from ffbench.models.block_ffn import BlockChooser, SparseSpan, rectangle, sparse_span
from ffbench.models.token_ffn import token_forward
from ffkernels import dense_gated_ffn, sparse_gated_ffn

ACTIVE = "_ffbench_sparse_prefill"
logger = logging.getLogger(__name__)


@dataclass
class Prefill:
    """What the next forward pass is, and counts of FFN neuron-tokens in prompts so far.

    real: each row's real tokens in the current prompt [batch, T], None outside one. offsets: how
    many real tokens of each row are in the cache already. dense_from: for each row the first of its
    real tokens from which on all are dense, in place of the plan's dense tokens at the end.
    prompt_tokens: length of the whole prompt if it comes in chunks; None: a pass ends its prompt.
    While `paused`, passes of several tokens are dense, as those of one token always are. If
    `chosen` is a list, each layer's number and the dynamic neurons [blocks, K] of a prompt's sparse
    blocks are appended to it.
    """

    real: list[slice | Tensor] | None = None
    offsets: list[int] = field(default_factory=list)
    dense_from: Sequence[int] | None = None
    prompt_tokens: int | None = None
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


class SparseFFN:
    """One layer's FFN on prompts: dense at both ends, sparse blocks between."""

    def __init__(
        self, ffn: GatedFFN, layer: LayerPlan, plan: SparsePlan, prompt: Prefill, backend: str
    ) -> None:
        device = ffn.w_gate.device
        self.plan, self.prompt, self.backend, self.ffn = plan, prompt, backend, ffn
        self.layer = layer.permuted().on(device)
        self.dense_forward: Callable[[Tensor], Tensor] = ffn.module.forward
        self.w_down_t = ffn.w_down.T.contiguous()
        self.chooser = BlockChooser(ffn, self.layer, plan.settings)
        module: Any = ffn.module
        self.compensation = self.layer.compensation.runtime(self.w_down_t, layer.hot, module.act_fn)
        self.before: dict[int, Tensor] = {}

    def dense(self, x: Tensor) -> Tensor:
        """Dense FFN of x [T, d]."""
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
        else:
            y, share = self.by_blocks(before, x, leading)
        self.prompt.used += round(share * len(self.layer.order) * len(x))
        return self.compensation.add_output(y, x)

    def by_blocks(self, before: Tensor, x: Tensor, leading: int) -> tuple[Tensor, float]:
        """FFN of x [T, d] with each block's own neurons, and the share of neurons computed."""
        z = self.compensation.features(x)
        if not self.chooser.reorders or z is None:
            return self.ordered_blocks(before, x, z, leading)
        order = self.chooser.token_order(x, z)
        y, share = self.ordered_blocks(before, x.index_select(0, order), z.index_select(0, order))
        return torch.empty_like(y).index_copy_(0, order, y), share

    def ordered_blocks(
        self, before: Tensor, x: Tensor, z: Tensor | None, leading: int = 0
    ) -> tuple[Tensor, float]:
        """`by_blocks` for tokens that are in the order of their blocks, with the compensator's
        features z [T, r].
        """
        size, hot = self.plan.settings.block_size, self.layer.hot
        kept = self.chooser.dynamic_of(before, x, leading)
        if self.prompt.chosen is not None:
            self.prompt.chosen.append((self.ffn.layer, rectangle(kept)))
        if not leading:
            y = self.kept_output(x, z, kept)
        else:
            heads, tails = (
                (x[:leading], x[leading:]),
                (None, None)
                if z is None
                else (
                    z[:leading],
                    z[leading:],
                ),
            )
            rows = ((heads[0], tails[0], kept[:1]), (heads[1], tails[1], kept[1:]))
            y = torch.cat([self.kept_output(*part) for part in rows if len(part[0])])
        lengths = [leading] if leading else []
        lengths += [min(size, len(x) - at) for at in range(leading, len(x), size)]
        used = sum((len(row) + hot) * count for row, count in zip(kept, lengths, strict=True))
        return y, used / (len(self.layer.order) * len(x))

    def kept_output(self, x: Tensor, z: Tensor | None, kept: list[Tensor]) -> Tensor:
        """The kept neurons' part of x [T, d] with the compensator's estimate; dynamic neurons of
        each block in `kept`. Blocks that keep equally many go into one call of the kernel.
        """
        size, c = self.plan.settings.block_size, self.compensation
        y = torch.empty_like(x)
        for count in sorted({len(row) for row in kept}):
            chosen = [i for i, row in enumerate(kept) if len(row) == count]
            every = len(chosen) == len(kept)
            part, part_z, rows = x, z, None
            if not every:
                spans = [torch.arange(i * size, min((i + 1) * size, len(x))) for i in chosen]
                rows = torch.cat(spans).to(x.device)
                part, part_z = x[rows], None if z is None else z[rows]
            output = sparse_gated_ffn(
                part,
                self.ffn.w_gate,
                self.ffn.w_up,
                self.w_down_t,
                torch.stack([kept[i] for i in chosen]),
                size,
                hot=self.layer.hot,
                activation=self.ffn.activation,
                z=part_z,
                v=c.activation_map if z is not None else None,
                c=c.mean,
                group=self.plan.settings.group_size,
                backend=self.backend,
            )
            if rows is None:
                y = output
            else:
                y[rows] = output
        return c.add_skipped(y, x, z, kept, size)

    def prompt_forward(
        self, x: Tensor, *, row: int = 0, offset: int = 0, dense_from: int | None = None
    ) -> Tensor:
        """FFN of a prompt's tokens x [T, d] without padding, the first of them at `offset`."""
        settings, prompt = self.plan.settings, self.prompt
        total = prompt.prompt_tokens
        span = sparse_span(settings, len(x), offset=offset, total=total, dense_from=dense_from)
        if prompt.too_short(total or offset + len(x), self.plan.min_tokens):
            span = SparseSpan(span.start, span.start, offset)
        f, start, end = len(self.layer.order), span.start, span.end
        prompt.total += f * len(x)
        prompt.used += f * (len(x) - len(span))
        if not offset:
            self.before.pop(row, None)
        if start:  # the first tokens may come in several chunks
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
        """The module's forward: x [batch, T, d]; padding rows give zeros and count nowhere."""
        real, ends, offsets = self.prompt.real, self.prompt.dense_from, self.prompt.offsets
        if real is None:
            return self.dense_forward(x)
        rows = [
            self.prompt_forward(
                x[i, real[i]],
                row=i,
                offset=offsets[i],
                dense_from=None if ends is None else ends[i],
            )
            for i in range(len(x))
        ]
        if all(len(row) == x.shape[1] for row in rows):
            return rows[0].unsqueeze(0) if len(rows) == 1 else torch.stack(rows)
        y = torch.zeros_like(x)
        for i, row in enumerate(rows):
            y[i, real[i]] = row
        return y


def cached_tokens(kwargs: dict[str, Any]) -> int:
    """Tokens that the cache holds before this pass."""
    # transformers 5.24 calls the argument `cache`; older versions know the other name only
    cache = kwargs.get("cache")
    cache = kwargs.get("past_key_values") if cache is None else cache
    return int(cache.get_seq_length()) if cache is not None else 0


def real_tokens(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[slice | Tensor] | None, list[int]]:
    """Each row's real tokens in a prompt's pass [batch, T], and those that are in the cache; None
    if the pass decodes one token.

    A slice where padding is on one side or both, which costs no copy; indices where it is between.
    """
    tokens = kwargs.get("input_ids")
    if tokens is None:
        tokens = args[0] if args else kwargs["inputs_embeds"]
    batch, length = tokens.shape[:2]
    if length == 1:
        return None, []
    mask, cached = kwargs.get("attention_mask"), cached_tokens(kwargs)
    if mask is None:
        return [slice(0, length)] * batch, [cached] * batch
    if mask.dim() != 2:
        raise ValueError(f"attention_mask: expected [batch, tokens], received {tuple(mask.shape)}")
    if bool(mask.all()):
        return [slice(0, length)] * batch, [cached] * batch
    real = [as_slice(row.nonzero().flatten()) for row in mask[:, -length:].bool()]
    return real, mask[:, :-length].sum(1).tolist()


def as_slice(positions: Tensor) -> slice | Tensor:
    """Increasing positions as a slice where they are neighbours."""
    if not len(positions):
        return slice(0, 0)
    first, last = int(positions[0]), int(positions[-1])
    return slice(first, last + 1) if last + 1 - first == len(positions) else positions


def permute_neurons(ffn: GatedFFN, order: Tensor) -> None:
    """Reorder a layer's neurons in place; the dense function stays the same."""
    order = order.to(ffn.w_gate.device)
    ffn.w_gate.copy_(ffn.w_gate[order])
    ffn.w_up.copy_(ffn.w_up[order])
    ffn.w_down.copy_(ffn.w_down[:, order])


def replace_attribute(owner: Any, name: str, value: Any) -> Callable[[], None]:
    """Set an instance attribute; returns what puts back the one that was there, if any."""
    if name not in owner.__dict__:
        setattr(owner, name, value)
        return partial(owner.__dict__.pop, name)
    before = owner.__dict__[name]
    setattr(owner, name, value)
    return partial(setattr, owner, name, before)


def counting_generate(generate: Callable[..., Any], prompt: Prefill) -> Callable[..., Any]:
    """`generate` that tells the prefill how long the prompt is, so that a prompt that comes in
    chunks keeps only its own ends dense.
    """

    def wrapped(inputs: Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
        ids = inputs if inputs is not None else kwargs.get("input_ids")
        prompt.prompt_tokens = None if ids is None or len(ids) > 1 else int(ids.shape[1])
        try:
            return generate(inputs, *args, **kwargs)
        finally:
            prompt.prompt_tokens = None

    return wrapped


def check_fit(ffns: list[GatedFFN], plan: SparsePlan) -> None:
    """Raise ValueError if the plan has other layers than the model."""
    sizes = [ffn.w_gate.shape[0] for ffn in ffns]
    if len(ffns) != len(plan.layers) or any(
        len(layer.order) != f for f, layer in zip(sizes, plan.layers, strict=True)
    ):
        raise ValueError(
            f"sparse_prefill: the plan has {len(plan.layers)} layers of "
            f"{len(plan.layers[0].order)} neurons, the model {len(ffns)} of {sizes[0]}"
        )


@contextmanager
def sparse_prefill(model: Any, plan: SparsePlan, backend: str = "auto") -> Iterator[Prefill]:
    """Prompts run sparse by `plan`, decoding stays dense; the model is as before afterwards.

    Works under model(...) and model.generate, with left or right padding and in chunks. Yields the
    counters and switches. Raises RuntimeError when nested, ValueError if the plan does not fit the
    model.
    """
    if getattr(model, ACTIVE, False):
        raise RuntimeError(
            "sparse_prefill: already active on this model; leave the first one first"
        )
    ffns = gated_ffns(model)
    check_fit(ffns, plan)
    prompt = Prefill()
    undo: list[Callable[[], Any]] = []

    def watch(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        prompt.real, prompt.offsets = (None, []) if prompt.paused else real_tokens(args, kwargs)

    try:
        setattr(model, ACTIVE, True)
        with torch.no_grad():
            for ffn, layer in zip(ffns, plan.layers, strict=True):
                if not torch.equal(layer.order, torch.arange(len(layer.order))):
                    permute_neurons(ffn, layer.order)
                    undo.append(partial(permute_neurons, ffn, layer.order.argsort()))
                forward = SparseFFN(ffn, layer, plan, prompt, backend).forward
                undo.append(replace_attribute(ffn.module, "forward", forward))
        undo.append(replace_attribute(model, "generate", counting_generate(model.generate, prompt)))
        undo.append(model.model.register_forward_pre_hook(watch, with_kwargs=True).remove)
        yield prompt
    finally:
        with torch.no_grad():
            for step in reversed(undo):
                step()
        setattr(model, ACTIVE, False)
