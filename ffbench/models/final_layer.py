"""The final-layer rule: if only the last token's logits are wanted, the last layer owes the other
tokens nothing but their keys and values.

Exact, and as good for dense prefill as for sparse (llama.cpp does it). It saves the last layer's
FFN, attention and query and output projections for all tokens but one.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from ffbench.models.adapters import decoder_layers
from ffbench.models.forward import attribute
from ffbench.models.layouts import ffn_of

KEYS_ONLY = "ffbench_keys_only"
REDUCED = ("q_proj", "o_proj")  # a fused projection of query, key and value stays whole


def no_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
) -> tuple[Tensor, None]:
    """Attention's place in a pass that only fills the cache: zeros [batch, T, heads, width]."""
    batch, heads, tokens = query.shape[:3]
    return value.new_zeros(1).expand(batch, tokens, heads, value.shape[-1]), None


def zeros_of(width: int) -> Callable[[Tensor], Tensor]:
    """A module's forward that gives zeros of a width, of which one number exists."""
    return lambda x, *args, **kwargs: x.new_zeros(1).expand(*x.shape[:-1], width)


def wants_last_token(kwargs: dict[str, Any]) -> bool:
    """Whether a call of the model reads nothing but its last position."""
    keep = kwargs.get("logits_to_keep", 0)
    more = ("labels", "output_hidden_states", "output_attentions")
    return type(keep) is int and keep == 1 and not any(kwargs.get(name) for name in more)


def last_of(name: str, value: Any) -> Any:
    """A layer's argument for a pass over the last token alone."""
    if name.startswith("position_embeddings") and isinstance(value, tuple):
        return tuple(part[:, -1:] for part in value)
    if name == "position_ids" and isinstance(value, Tensor):
        return value[..., -1:]
    if name == "attention_mask" and isinstance(value, Tensor) and value.dim() == 4:
        return value[:, :, -1:]
    return value


def without_last_of(name: str, value: Any) -> Any:
    """A layer's argument for a pass over all tokens but the last that attends to nothing."""
    if name.startswith("position_embeddings") and isinstance(value, tuple):
        return tuple(part[:, :-1] for part in value)
    if name == "position_ids" and isinstance(value, Tensor):
        return value[..., :-1]
    return None if name == "attention_mask" else value


class FinalLayer:
    """The last decoder layer's forward by the rule, while `active`."""

    def __init__(self, model: Any) -> None:
        self.layer: Any = decoder_layers(model)[-1]
        self.whole_forward = self.layer.forward
        self.config = self.layer.self_attn.config
        self.active = False

    def keys_only(self, stack: ExitStack) -> None:
        """Make the layer compute nothing but keys and values."""
        attention, ffn = self.layer.self_attn, ffn_of(self.layer)
        for name in REDUCED:
            if isinstance(part := getattr(attention, name, None), nn.Linear):
                stack.enter_context(attribute(part, "forward", zeros_of(part.out_features)))
        stack.enter_context(attribute(ffn, "forward", lambda x, *args, **kwargs: x.new_zeros(1)))
        before = self.config._attn_implementation
        self.config._attn_implementation = KEYS_ONLY
        stack.callback(setattr, self.config, "_attn_implementation", before)

    def applies(self, tokens: int, kwargs: dict[str, Any]) -> bool:
        """Whether a pass can be split into its last token and the others."""
        caches = [kwargs.get(name) for name in ("cache", "past_key_values")]
        cache = next((one for one in caches if one is not None), None)
        mask = kwargs.get("attention_mask")
        if not self.active or cache is None or tokens < 2:
            return False
        # a sliding cache forgets tokens between the two passes, and the mask would not fit it
        layer = list(getattr(cache, "layers", []))[-1:]
        sliding = any(getattr(one, "is_sliding", False) for one in layer)
        return not sliding and (mask is None or isinstance(mask, Tensor))

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Hidden states [batch, T, d] of which only the last token's are the layer's output."""
        if args or not self.applies(hidden_states.shape[1], kwargs):
            whole: Tensor = self.whole_forward(hidden_states, *args, **kwargs)
            return whole
        with ExitStack() as stack:
            self.keys_only(stack)
            others = {name: without_last_of(name, value) for name, value in kwargs.items()}
            self.whole_forward(hidden_states[:, :-1], **others)
        last = {name: last_of(name, value) for name, value in kwargs.items()}
        output = self.whole_forward(hidden_states[:, -1:], **last)
        return torch.cat([hidden_states[:, :-1], output], 1)


@contextmanager
def final_layer_rule(model: Any) -> Iterator[None]:
    """Passes with `logits_to_keep=1` and a cache follow the final-layer rule; others are as before,
    and so is the model afterwards.

    The logits and the cache are the same up to rounding. The hidden states of other tokens, which
    such a pass does not return, are not computed. Works inside and outside `sparse_prefill`. A last
    layer with a sliding-window cache stays whole.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(KEYS_ONLY, no_attention)
    final = FinalLayer(model)
    whole_forward = model.forward

    @wraps(whole_forward)  # generate looks at the signature
    def forward(*args: Any, **kwargs: Any) -> Any:
        final.active = wants_last_token(kwargs)
        try:
            return whole_forward(*args, **kwargs)
        finally:
            final.active = False

    with (
        attribute(final.layer, "forward", final.forward),
        attribute(model, "forward", forward),
    ):
        yield
