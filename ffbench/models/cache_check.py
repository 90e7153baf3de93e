"""Whether a model can be read on from a cache that is cut back in between.

Answers and fidelity read a prompt once, then several continuations of it, each from the prompt's
cache. A layer with a running state (linear attention, convolutions) cannot go back.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ffbench.models.forward import with_cache

TOKENS, PROMPT = 8, 5  # enough for attention over several positions, cheap for any model
STATEFUL_LAYERS = ("linear_attention", "mamba", "recurrent", "conv", "hybrid", "hybrid_sliding")
# Largest relative distance of logits read from a cache from those read at once. A wrong cache is
# off by tens of percent.
TOLERANCE = {torch.float32: 1e-3}
COARSE_TOLERANCE = 0.1  # of bfloat16 and float16, whose rounding adds up over the layers
NEEDED = "FFBench reads several continuations from the cache of one prompt"


def layer_problems(config: Mapping[str, Any]) -> list[str]:
    """Layers in a language model's configuration whose state cannot be cut back."""
    kinds = config.get("layer_types") or config.get("layers_block_type")
    if not isinstance(kinds, (list, tuple)):
        return []
    found = [kind for kind in dict.fromkeys(map(str, kinds)) if kind in STATEFUL_LAYERS]
    if not found:
        return []
    return [
        f"model: layers of type {', '.join(found)} keep a state that cannot be cut back, and "
        f"{NEEDED}; choose a model with attention in every layer (docs/models.md)"
    ]


def probe(model: Any) -> Tensor:
    """Ids [1, TOKENS] that every model has."""
    rows = model.get_input_embeddings().weight.shape[0]
    return torch.arange(1, TOKENS + 1, device=model.device)[None] % rows


@torch.no_grad()
def cache_problem(model: Any, ids: Tensor, whole: Tensor) -> str | None:
    """Why continuations cannot be read from a cache; None if they give the logits `whole`
    [1, TOKENS, vocabulary] that the model gives for `ids` [1, TOKENS] at once.
    """
    from transformers import DynamicCache

    cache, rest = DynamicCache(), ids[:, PROMPT:]
    arguments = with_cache(model, cache)
    try:
        model(ids[:, :PROMPT], **arguments)
        for given in (rest.flip(1), rest):
            logits = model(given, **arguments).logits
            cache.crop(-rest.shape[1])
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - caches of other libraries' models raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return f"model: {type(model).__name__} cannot be read on from a cache ({reason}); {NEEDED}"
    expected = whole[:, PROMPT:].float()
    distance = float((logits.float() - expected).norm() / expected.norm().clamp_min(1e-30))
    if distance <= TOLERANCE.get(model.dtype, COARSE_TOLERANCE):
        return None
    return (
        f"model: {type(model).__name__} gives other logits from a cache that was cut back than at "
        f"once (off by {distance:.0%}); {NEEDED}"
    )
