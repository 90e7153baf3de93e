"""The sizes of a model that memory, disk and time depend on, from its configuration alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ffbench.models.config_checks import experts_setting, text_config
from ffbench.models.experts import CHOSEN
from ffbench.models.loading import ModelSpec, known_config
from ffbench.models.shapes import SHAPES, shape_of


@dataclass(frozen=True)
class FFNSizes:
    """FFNs of one kind: their neurons f, how many the model has, and how many a token passes."""

    neurons: int
    number: int
    passed: int


@dataclass(frozen=True)
class ModelSizes:
    """Layers, hidden width d, neurons f of an FFN, attention weights per layer, vocabulary.

    Of a mixture of experts f is that of a routed expert; experts per layer, and those that the
    router chooses for a token; neurons of the shared expert of such a layer, 0 if there is none;
    layers without experts, and the neurons of their FFN.
    """

    layers: int
    hidden: int
    neurons: int
    attention: int
    vocabulary: int
    experts: int = 1
    chosen: int = 1
    shared: int = 0
    dense_layers: int = 0
    dense_neurons: int = 0

    @property
    def ffns(self) -> list[FFNSizes]:
        """The FFNs of the model by kind."""
        layers = self.layers - self.dense_layers
        kinds = [
            FFNSizes(self.neurons, layers * self.experts, layers * self.chosen),
            FFNSizes(self.shared, layers, layers),
            FFNSizes(self.dense_neurons, self.dense_layers, self.dense_layers),
        ]
        return [kind for kind in kinds if kind.neurons * kind.number]

    def forward_flops(self, tokens: int, context: int, logits: int = 0) -> float:
        """FLOPs of a dense forward pass over `tokens` tokens in texts of `context` tokens, with
        logits at `logits` positions; a multiplication and an addition count as two.
        """
        neurons = sum(kind.neurons * kind.passed for kind in self.ffns)
        weights = 3 * self.hidden * neurons + self.layers * self.attention
        # causal: a token attends to half of its text on average, by two products
        attending = 2.0 * self.layers * self.hidden * context
        return tokens * (2.0 * weights + attending) + 2.0 * logits * self.hidden * self.vocabulary


def dense_layers(config: Mapping[str, Any]) -> int:
    """How many layers of a mixture of experts have none: the first ones (GLM-4.5), or single
    ones and all but each n-th (Qwen).
    """
    layers, step = int(config["num_hidden_layers"]), int(config.get("decoder_sparse_step") or 1)
    first = min(int(config.get("first_k_dense_replace") or 0), layers)
    named = set(config.get("mlp_only_layers") or ())
    without = sum(first <= i < layers and (i + 1) % step == 0 for i in named)
    return layers - (layers // step - first // step - without)


def shared_neurons(config: Mapping[str, Any]) -> int:
    """Neurons of a shared expert, by its width or as so many routed experts; 0 without one."""
    width = int(config.get("shared_expert_intermediate_size") or 0)
    several = int(config.get("n_shared_experts") or 0)
    return width or (several * int(config["moe_intermediate_size"]) if several else 0)


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
            chosen=int(c[CHOSEN]) if several else 1,
            shared=shared_neurons(c) if several else 0,
            dense_layers=dense_layers(c) if several else 0,
            dense_neurons=int(c["intermediate_size"]) if several else 0,
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
