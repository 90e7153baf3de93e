"""The sizes of a model that memory, disk and time depend on, from its configuration alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ffbench.models.config_checks import experts_setting, text_config
from ffbench.models.loading import ModelSpec, known_config
from ffbench.models.shapes import SHAPES, shape_of


@dataclass(frozen=True)
class ModelSizes:
    """Layers, hidden width d, neurons f of an FFN, attention weights per layer, vocabulary; experts
    per layer, and those that a token sees.
    """

    layers: int
    hidden: int
    neurons: int
    attention: int
    vocabulary: int
    experts: int = 1
    chosen: int = 1

    def forward_flops(self, tokens: int, context: int, logits: int = 0) -> float:
        """FLOPs of a dense forward pass over `tokens` tokens in texts of `context` tokens, with
        logits at `logits` positions; a multiplication and an addition count as two.
        """
        weights = self.layers * (3 * self.hidden * self.neurons * self.chosen + self.attention)
        # causal: a token attends to half of its text on average, by two products
        attending = 2.0 * self.layers * self.hidden * context
        return tokens * (2.0 * weights + attending) + 2.0 * logits * self.hidden * self.vocabulary


def sizes_of_config(config: Mapping[str, Any]) -> ModelSizes | None:
    """Sizes that a config.json gives; None if it lacks one."""
    c, several = text_config(config), experts_setting(config)
    try:
        hidden, heads = int(c["hidden_size"]), int(c["num_attention_heads"])
        head = int(c.get("head_dim") or hidden // heads)
        key_value = int(c.get("num_key_value_heads") or heads)
        # of an expert, where a family's configuration tells it from a dense layer's
        expert = c.get("moe_intermediate_size") if several else None
        return ModelSizes(
            layers=int(c["num_hidden_layers"]),
            hidden=hidden,
            neurons=int(expert or c["intermediate_size"]),
            attention=2 * hidden * head * (heads + key_value),
            vocabulary=int(c["vocab_size"]),
            experts=int(c[several]) if several else 1,
            chosen=int(c["num_experts_per_tok"]) if several else 1,
        )
    except (KeyError, TypeError, ValueError):
        return None


def model_sizes(spec: ModelSpec) -> ModelSizes | None:
    """Sizes of a model that is not loaded; None if nothing on this machine tells them.

    A GGUF file has no config.json, so a packaged model is looked up by name among the published
    shapes. Raises ModelError if a configuration cannot be had.
    """
    config = known_config(spec)
    if config is not None:
        return sizes_of_config(config)
    shape = SHAPES.get(shape_of(spec.name) or "")
    if shape is None:
        return None
    attention = 2 * shape.hidden * shape.head_dim * (shape.heads + shape.key_value_heads)
    return ModelSizes(shape.layers, shape.hidden, shape.intermediate, attention, shape.vocabulary)
