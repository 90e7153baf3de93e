"""Attention over a prompt through the faster float32 product of this machine.

torch's attention for CPUs multiplies with MKL, as its linear layers do. Scores of a few hundred
queries at a time by oneDNN take about half the time where MKL leaves AVX-512 unused.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.float32_products import linear, onednn_is_faster

NAME, SDPA = "ffbench_sdpa", "sdpa"
ROWS = 384  # queries of one product: their scores over 2,048 keys are 3 MB, within a core's cache
LEAST = 16  # queries below which torch's attention, one call for all heads, is as fast


def causal_mask(rows: int) -> Tensor:
    """What is added to the scores [rows, rows] of queries and their own keys."""
    return torch.full((rows, rows), -torch.inf).triu_(1)


def weights_of(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax of scores [heads, rows, keys], which it may overwrite; a query that may see no key
    weighs none.

    mask [1 or heads, rows, keys]: True where a key is seen, or what is added to its score.
    """
    if mask is None:
        return scores.softmax(-1)
    if mask.dtype == torch.bool:
        return scores.masked_fill_(~mask, -torch.inf).softmax(-1).masked_fill_(~mask, 0)
    return scores.add_(mask).softmax(-1)


def chunked_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float
) -> Tensor:
    """Attention output [batch, T, heads, e] of queries [batch, heads, T, e] over keys and values
    [batch, groups, S, e]; heads of a group share keys.

    mask [1 or batch, 1 or heads, T, S] as in `weights_of`; None: causal, with T = S. Some queries
    of all heads of a group are one product, over no more keys than they see.
    """
    batch, heads, tokens, _ = query.shape
    groups = key.shape[1]
    shared = heads // groups
    output = query.new_empty(batch, tokens, groups, shared, value.shape[-1])
    for row in range(batch):
        for group in range(groups):
            attend_in_steps(
                query[row, group * shared : (group + 1) * shared] * scaling,
                key[row, group].contiguous(),
                value[row, group].contiguous(),
                None if mask is None else mask_part(mask, row, group, shared),
                output[row, :, group],
            )
    return output.flatten(2, 3)


def attend_in_steps(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, output: Tensor
) -> None:
    """Write the output [T, shared, e] of the heads of one group: scaled queries [shared, T, e],
    keys and values [S, e], mask [1 or shared, T, S] or None as in `chunked_attention`.
    """
    shared, tokens, width = query.shape
    step = max(1, ROWS // shared)
    triangle = causal_mask(min(step, tokens)) if mask is None else None
    for start in range(0, tokens, step):
        end = min(start + step, tokens)
        rows, seen = end - start, end if mask is None else len(key)
        scores = linear(query[:, start:end].reshape(-1, width), key[:seen])
        scores = scores.view(shared, rows, seen)
        if triangle is not None:
            scores[..., start:].add_(triangle[:rows, :rows])
        weights = weights_of(scores, None if mask is None else mask[:, start:end])
        result = linear(weights.view(-1, seen), value[:seen].T)
        output[start:end] = result.view(shared, rows, -1).transpose(0, 1)


def mask_part(mask: Tensor, row: int, group: int, shared: int) -> Tensor:
    """The mask [1 or heads of the group, T, S] of one row and group."""
    own = mask[row if mask.shape[0] > 1 else 0]
    return own if own.shape[0] == 1 else own[group * shared : (group + 1) * shared]


def applies(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool) -> bool:
    """Whether `chunked_attention` computes the same as torch's attention, without gradients."""
    tensors = (query, key, value)
    if torch.is_autocast_enabled("cpu"):
        return False
    if torch.is_grad_enabled() and any(one.requires_grad for one in tensors):
        return False
    if any(one.device.type != "cpu" or one.dtype != torch.float32 for one in tensors):
        return False
    if query.shape[2] < LEAST or query.shape[1] % key.shape[1]:
        return False
    if mask is None:
        return causal and query.shape[2] == key.shape[2]
    if mask.dim() != 4 or mask.dtype not in (torch.bool, torch.float32):
        return False
    batch, heads, *rest = mask.shape
    whole = rest == [query.shape[2], key.shape[2]]
    return whole and batch in (1, query.shape[0]) and heads in (1, query.shape[1])


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it; whatever is not a plain prompt goes to torch's."""
    from transformers import AttentionInterface

    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    special = dropout or any(kwargs.get(n) is not None for n in ("position_bias", "softcap"))
    if special or not applies(query, key, value, attention_mask, bool(causal)):
        plain = AttentionInterface()[SDPA]
        done: tuple[Tensor, None] = plain(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **kwargs
        )
        return done
    scale = 1 / math.sqrt(query.shape[-1]) if scaling is None else scaling
    return chunked_attention(query, key, value, attention_mask, scale), None


def chosen_config(model: Any) -> Any | None:
    """The configuration that names the model's attention, if that is torch's and oneDNN helps."""
    config = model.config.get_text_config()
    plain = getattr(config, "_attn_implementation", None) == SDPA
    return config if plain and onednn_is_faster() else None


def use_fast_attention(model: Any) -> Any | None:
    """Let prompts attend by `chunked_attention` from now on where that is faster; returns the
    configuration that was changed.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    config = chosen_config(model)
    if config is not None:
        AttentionInterface.register(NAME, attention)
        AttentionMaskInterface.register(NAME, AttentionMaskInterface()[SDPA])
        config._attn_implementation = NAME
    return config


@contextmanager
def fast_attention(model: Any) -> Iterator[None]:
    """The same inside; as before afterwards."""
    config = use_fast_attention(model)
    try:
        yield
    finally:
        if config is not None:
            config._attn_implementation = SDPA
