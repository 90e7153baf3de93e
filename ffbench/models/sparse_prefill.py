"""Run a model's prompts sparse: a context manager over Hugging Face models."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.block_counts import TILE, block_counts
from ffbench.methods.compensators.remainder import PARTS, remainder
from ffbench.methods.compensators.surrogate import OutputMap
from ffbench.methods.groups import best
from ffbench.methods.plan import LayerPlan, SparsePlan
from ffbench.methods.schedulers import PER_BLOCK
from ffbench.methods.selectors import SELECTORS, Scene
from ffbench.methods.similar_blocks import SIMILAR, similar_problem, token_order
from ffbench.models.adapters import GatedFFN, gated_ffns
from ffbench.models.token_ffn import token_forward
from ffkernels import dense_gated_ffn, sparse_gated_ffn

ACTIVE = "_ffbench_sparse_prefill"
logger = logging.getLogger(__name__)


@dataclass
class Prefill:
    """What the next forward pass is, and counts of FFN neuron-tokens in prompts so far.

    `real` holds each row's real tokens in the current prompt [batch, T], None outside one.
    `dense_from` gives for each row the first of its real tokens from which on all are dense, in
    place of the plan's dense last block; None: the plan's rule. While `paused`, passes of several
    tokens after a prompt are dense, as those of one token always are. Where `chosen` is a list,
    each layer's number and the dynamic neurons [blocks, K] of a prompt's sparse blocks are appended
    to it.
    """

    real: list[slice | Tensor] | None = None
    dense_from: Sequence[int] | None = None
    paused: bool = False
    used: int = 0
    total: int = 0
    chosen: list[tuple[int, Tensor]] | None = None
    told_short: bool = False

    @property
    def density(self) -> float:
        """Share of the prompts' neurons that was computed."""
        return self.used / self.total if self.total else 1.0

    def too_short(self, tokens: int, least: int) -> bool:
        """Whether a prompt is below the plan's break-even length; said once."""
        if tokens < least and not self.told_short:
            self.told_short = True
            logger.warning(
                "a prompt of %d tokens runs dense: this plan was measured to pay off from %d tokens on",
                tokens,
                least,
            )
        return tokens < least


def rectangle(kept: list[Tensor]) -> Tensor:
    """Neurons [n, K] of n blocks. Raises ValueError where the blocks keep different numbers."""
    if len({len(row) for row in kept}) > 1:
        raise ValueError(
            "blocks of an adaptive plan keep different numbers of neurons, which cannot be recorded as one "
            "table; choose a scheduler that is not adaptive"
        )
    return torch.stack(kept)


class SparseFFN:
    """One layer's FFN on prompts: dense first and last block, sparse ones between."""

    def __init__(
        self, ffn: GatedFFN, layer: LayerPlan, plan: SparsePlan, prompt: Prefill, backend: str
    ) -> None:
        self.plan, self.layer, self.prompt, self.backend = plan, layer.permuted(), prompt, backend
        self.ffn, dtype, self.selector = ffn, ffn.w_gate.dtype, SELECTORS[plan.settings.selector]
        self.w_down_t = ffn.w_down.T.contiguous()
        self.down_norms = self.w_down_t.float().norm(dim=1)
        s, hot = self.layer.surrogate, self.layer.hot
        self.reorders = plan.settings.blocks == SIMILAR
        if self.reorders and (
            problem := similar_problem(plan.settings.selector, plan.settings.compensator)
        ):
            raise ValueError(f"sparse_prefill: {problem}")
        self.active = s.rank > 0 or bool(s.c.any())
        self.p, self.v, self.c = s.p.to(dtype), s.v.to(dtype), s.c.to(dtype)
        cold_down = self.w_down_t[hot:].float()
        self.m = (cold_down.T @ s.v[hot:]).to(
            dtype
        )  # [d, r]: the surrogate's share of the cold neurons
        self.b = (cold_down.T @ s.c[hot:]).to(dtype)
        blind = self.layer.output_map
        self.blind = (
            OutputMap(blind.p.to(dtype), blind.u.to(dtype), blind.b.to(dtype)) if blind else None
        )

    def activations(self, x: Tensor) -> Tensor:
        """Exact activations [T, f] of x [T, d]."""
        module = self.ffn.module
        return module.act_fn(module.gate_proj(x)) * module.up_proj(x)  # type: ignore[operator]

    def dense(self, x: Tensor) -> Tensor:
        """Dense FFN of x [T, d]."""
        return dense_gated_ffn(
            x, self.ffn.w_gate, self.ffn.w_up, self.w_down_t, self.ffn.activation
        )

    def choose(self, before: Tensor, blocks: Tensor) -> list[Tensor]:
        """Sorted dynamic neurons of each of the blocks [n, B, d]: kept - hot of them, on average
        where K adapts.
        """
        settings, hot = self.plan.settings, self.layer.hot
        scene = Scene(
            self.layer,
            before,
            blocks,
            self.activations,
            self.ffn.module.act_fn,  # type: ignore[arg-type]
            self.down_norms,
            settings.seed * 1009 + self.ffn.layer,
        )
        scores = self.selector(scene)[:, hot:]
        dynamic, group = self.layer.kept - hot, settings.group_size
        rule = PER_BLOCK.get(settings.scheduler)
        counts = (
            block_counts(scores, dynamic * len(blocks), rule, max(TILE, group))
            if rule
            else [dynamic] * len(blocks)
        )
        if len(set(counts)) == 1:
            return list(best(scores, counts[0], group).add_(hot))
        return [
            best(row[None], count, group)[0].add_(hot)
            for row, count in zip(scores, counts, strict=True)
        ]

    def sparse(self, before: Tensor, x: Tensor) -> Tensor:
        """Sparse FFN of x [T, d], by blocks or, for a per-token rule, by its own dense form."""
        if self.selector.block_wise:
            y, share = self.by_blocks(before, x)
        else:
            y, share = token_forward(self.ffn, self.layer, self.selector, x)
        if self.blind:
            y.add_(torch.addmm(self.blind.b, x @ self.blind.p.T, self.blind.u.T))
        self.prompt.used += round(share * len(self.layer.order) * len(x))
        return y

    def by_blocks(self, before: Tensor, x: Tensor) -> tuple[Tensor, float]:
        """FFN of x [T, d] with each block's own neurons, and the share of neurons that this
        computed.
        """
        z = x @ self.p.T if self.p.shape[0] else None
        if not self.reorders or z is None:
            return self.as_they_stand(before, x, z)
        order = token_order(z, self.plan.settings.block_size)
        found, share = self.as_they_stand(
            before, x.index_select(0, order), z.index_select(0, order)
        )
        return torch.empty_like(found).index_copy_(0, order, found), share

    def as_they_stand(self, before: Tensor, x: Tensor, z: Tensor | None) -> tuple[Tensor, float]:
        """`by_blocks` where each block's tokens follow one another in x [T, d] and in the
        surrogate's features z [T, r].

        A short last block selects from its own tokens only.
        """
        size, width = self.plan.settings.block_size, x.shape[1]
        whole = len(x) // size * size
        kept = self.choose(before, x[:whole].view(-1, size, width)) if whole else []
        if whole < len(x):
            previous = x[whole - size : whole] if whole else before
            kept += self.choose(previous, x[whole:].unsqueeze(0))
        if self.prompt.chosen is not None:
            self.prompt.chosen.append((self.ffn.layer, rectangle(kept)))
        y = self.exact(x, z, kept)
        if self.active:
            y.add_(self.b if z is None else torch.addmm(self.b, z, self.m.T))
        if PARTS[0] in self.layer.extra:
            act = self.ffn.module.act_fn
            y = y + remainder(self.layer.extra, act, x, kept, self.layer.hot, size)  # type: ignore[arg-type]
        used = sum(
            (len(row) + self.layer.hot) * min(size, len(x) - i * size) for i, row in enumerate(kept)
        )
        return y, used / (len(self.layer.order) * len(x))

    def exact(self, x: Tensor, z: Tensor | None, kept: list[Tensor]) -> Tensor:
        """The kept neurons' part of x [T, d], corrected by the estimate of z [T, r]; neurons of
        each block in `kept`.

        Blocks that keep equally many go into one call of the kernel.
        """
        size, y = self.plan.settings.block_size, torch.empty_like(x)
        for count in sorted({len(row) for row in kept}):
            chosen = [i for i, row in enumerate(kept) if len(row) == count]
            every = len(chosen) == len(kept)
            rows = torch.cat(
                [
                    torch.arange(i * size, min((i + 1) * size, len(x)), device=x.device)
                    for i in chosen
                ]
            )
            part, part_z = (x, z) if every else (x[rows], z[rows] if z is not None else None)
            found = sparse_gated_ffn(
                part,
                self.ffn.w_gate,
                self.ffn.w_up,
                self.w_down_t,
                torch.stack([kept[i] for i in chosen]),
                size,
                hot=self.layer.hot,
                activation=self.ffn.activation,
                z=part_z,
                v=self.v if z is not None else None,
                c=self.c if self.active else None,
                group=self.plan.settings.group_size,
                backend=self.backend,
            )
            if every:
                return found
            y[rows] = found
        return y

    def prompt_forward(self, x: Tensor, dense_from: int | None = None) -> Tensor:
        """FFN of one whole prompt x [T, d] without padding, dense from token `dense_from` on where
        it is given.
        """
        settings = self.plan.settings
        size, tokens = settings.block_size, len(x)
        last_start = (tokens - 1) // size * size
        start = min(size, tokens) if settings.dense_first else 0
        if dense_from is None:
            dense_from = last_start if settings.dense_last else tokens
        end = max(min(dense_from, tokens), start)
        if self.prompt.too_short(tokens, self.plan.min_tokens):
            end = start
        f = self.ffn.w_gate.shape[0]
        self.prompt.total += f * tokens
        self.prompt.used += f * (tokens - (end - start))
        if start >= end:
            return self.dense(x)
        edges = self.dense(torch.cat([x[:start], x[end:]])) if start or end < tokens else x[:0]
        middle = self.sparse(x[:start], x[start:end])
        return torch.cat([edges[:start], middle, edges[start:]])

    def forward(self, x: Tensor) -> Tensor:
        """The module's forward: x [batch, T, d]; padding rows give zeros and count nowhere."""
        real, ends = self.prompt.real, self.prompt.dense_from
        if real is None:
            return type(self.ffn.module).forward(self.ffn.module, x)  # type: ignore[no-any-return]
        rows = [
            self.prompt_forward(x[i, real[i]], None if ends is None else ends[i])
            for i in range(len(x))
        ]
        if all(len(one) == x.shape[1] for one in rows):
            return rows[0].unsqueeze(0) if len(rows) == 1 else torch.stack(rows)
        y = torch.zeros_like(x)
        for i, one in enumerate(rows):
            y[i, real[i]] = one
        return y


def real_tokens(args: tuple, kwargs: dict[str, Any]) -> list[slice | Tensor] | None:
    """Each row's real tokens in a prompt's forward pass [batch, T]; None when it decodes one token.

    A slice where padding is on one side or both, which costs no copy; indices where it is in
    between.
    """
    tokens = kwargs.get("input_ids")
    if tokens is None:
        tokens = args[0] if args else kwargs["inputs_embeds"]
    batch, length = tokens.shape[:2]
    if length == 1:
        return None
    mask = kwargs.get("attention_mask")
    if mask is None:
        return [slice(0, length)] * batch
    if mask.dim() != 2:
        raise ValueError(f"attention_mask: expected [batch, tokens], received {tuple(mask.shape)}")
    return [as_slice(row.nonzero().flatten()) for row in mask[:, -length:].bool()]


def as_slice(positions: Tensor) -> slice | Tensor:
    """Increasing positions as a slice where they are neighbours."""
    if not len(positions):
        return slice(0, 0)
    first, last = int(positions[0]), int(positions[-1])
    return slice(first, last + 1) if last + 1 - first == len(positions) else positions


def permute_neurons(ffn: GatedFFN, order: Tensor) -> None:
    """Reorder a layer's neurons in place; the dense function stays the same."""
    ffn.w_gate.copy_(ffn.w_gate[order])
    ffn.w_up.copy_(ffn.w_up[order])
    ffn.w_down.copy_(ffn.w_down[:, order])


@contextmanager
def sparse_prefill(model: Any, plan: SparsePlan, backend: str = "auto") -> Iterator[Prefill]:
    """Prompts run sparse by `plan`, decoding stays dense; the model is as before afterwards.

    Works under model(...) and model.generate, with left or right padding. Yields the counters and
    switches. Raises RuntimeError when nested, ValueError when the plan does not fit the model.
    """
    if getattr(model, ACTIVE, False):
        raise RuntimeError(
            "sparse_prefill: already active on this model; leave the first one before entering again"
        )
    ffns = gated_ffns(model)
    if len(ffns) != len(plan.layers) or any(
        len(p.order) != f.w_gate.shape[0] for f, p in zip(ffns, plan.layers, strict=False)
    ):
        raise ValueError(
            f"sparse_prefill: the plan has {len(plan.layers)} layers of "
            f"{len(plan.layers[0].order)} neurons, the model {len(ffns)} of {ffns[0].w_gate.shape[0]}"
        )
    prompt = Prefill()
    undo: list[Callable[[], Any]] = []

    def watch(module: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        prompt.real = None if prompt.paused else real_tokens(args, kwargs)

    try:
        setattr(model, ACTIVE, True)
        with torch.no_grad():
            for ffn, layer in zip(ffns, plan.layers, strict=True):
                if not torch.equal(layer.order, torch.arange(len(layer.order))):
                    permute_neurons(ffn, layer.order)
                    undo.append(partial(permute_neurons, ffn, layer.order.argsort()))
                ffn.module.forward = SparseFFN(ffn, layer, plan, prompt, backend).forward  # type: ignore[method-assign]
                undo.append(partial(ffn.module.__dict__.pop, "forward"))
        undo.append(model.model.register_forward_pre_hook(watch, with_kwargs=True).remove)
        yield prompt
    finally:
        with torch.no_grad():
            for step in reversed(undo):
                step()
        setattr(model, ACTIVE, False)
