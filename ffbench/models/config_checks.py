"""Checks of a model by its configuration alone, before any weights are read."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ffbench.models.adapters import ACTIVATIONS, gated_ffns
from ffbench.models.cache_check import layer_problems
from ffbench.models.errors import UnsupportedModelError

# FFNs that are not gated, or not in this way, by model_type: the refusal names what they have.
OTHER_FFNS = {
    "gpt2": "its FFN has no gate (c_fc and c_proj)",
    "gpt_neox": "its FFN has no gate (dense_h_to_4h and dense_4h_to_h)",
    "opt": "its FFN has no gate (fc1 and fc2)",
    "phi": "its FFN has no gate (fc1 and fc2)",
    "bitnet": "its FFN has a norm before the down projection",
    "gpt_oss": "its experts have biases, clamp gate and up, and multiply by up + 1",
}
EXPERT_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
    "max_position_embeddings",
)
LARGEST_SIZE = 2**31  # of a tensor's axis, and far above every model's


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's part of a configuration with several parts."""
    inner = config.get("text_config")
    return inner if isinstance(inner, Mapping) else config


def experts_setting(config: Mapping[str, Any]) -> str | None:
    """The setting of a configuration that gives several routed experts; None for a dense model."""
    inner = text_config(config)
    several = (n for n in EXPERT_COUNTS if isinstance(inner.get(n), int) and inner[n] > 1)
    return next(several, None)


def mixture_problem(config: Mapping[str, Any], mixtures: Collection[str] = ()) -> str | None:
    """Why a mixture of experts cannot be used: it is none of the families `mixtures`."""
    inner = text_config(config)
    kind = str(inner.get("model_type", config.get("model_type")))
    name = experts_setting(config)
    if name is None or kind in mixtures:
        return None
    choice = "".join(f"{one}, " for one in mixtures) + ("or " if mixtures else "")
    return (
        f"model: {kind} is a mixture of experts ({name}={inner[name]}), which is not supported "
        f"here; choose {choice}a dense model (docs/models.md)"
    )


def config_problems(config: Mapping[str, Any], mixtures: Collection[str] = ()) -> list[str]:
    """What config.json alone tells against running a model sparse; a sentence per problem.

    mixtures: families of mixtures of experts that the caller can use.
    """
    inner = text_config(config)
    kind = str(inner.get("model_type", config.get("model_type")))
    problems = []
    quantised = config.get("quantization_config") or inner.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method", "unknown") if isinstance(quantised, dict) else "?"
        problems.append(
            f"model: its weights are quantised ({method}); FFBench needs float32, bfloat16 or "
            "float16 weights"
        )
    if kind in OTHER_FFNS:
        problems.append(f"model: model_type {kind!r}: {OTHER_FFNS[kind]}")
    elif mixture := mixture_problem(config, mixtures):
        problems.append(mixture)
    if inner.get("mlp_bias"):
        problems.append("model: its FFN has biases (mlp_bias=true), which are not supported")
    pattern = inner.get("activation_sparsity_pattern")
    if isinstance(pattern, list) and any(pattern):
        problems.append("model: its FFN thresholds its own gate (activation_sparsity_pattern)")
    problems += layer_problems(inner)
    problems += number_problems(inner)
    activation = inner.get("hidden_act") or inner.get("hidden_activation")
    known = isinstance(activation, str) and activation in ACTIVATIONS
    if activation is not None and kind not in OTHER_FFNS and not known:
        problems.append(
            f"model: activation {activation!r} is not supported; supported: "
            f"{', '.join(ACTIVATIONS)}"
        )
    return problems


def number_problems(config: Mapping[str, Any]) -> list[str]:
    """Sizes in config.json that are not whole numbers above zero."""
    return [
        f"model: config.json has {name}={config[name]!r}; a whole number above 0 is needed"
        for name in SIZES
        if config.get(name) is not None and not is_size(config[name])
    ]


def is_size(value: Any) -> bool:
    """Whether a value is a number of things; some families have a list, one number per layer."""
    if isinstance(value, list):
        return bool(value) and all(map(is_size, value))
    return type(value) is int and 0 < value < LARGEST_SIZE


def group_problems(config: Mapping[str, Any], group_size: int) -> list[str]:
    """Why groups of `group_size` neurons do not fit the FFN width that config.json gives."""
    width = text_config(config).get("intermediate_size")
    if not isinstance(width, int) or width % group_size == 0:
        return []
    return [
        f"group_size: {group_size} does not divide the model's {width} neurons per layer; choose "
        "group_size=1"
    ]


@dataclass(frozen=True)
class UsedLength:
    """Tokens of the longest text that a setting makes the model read: those that it names, and
    `more` that are added, as `what` says.
    """

    tokens: int
    more: int = 0
    what: str = ""

    @property
    def total(self) -> int:
        """All of them."""
        return self.tokens + self.more

    def text(self) -> str:
        """The sum as a user can check it: "512 + a tail of 255 + 1 = 768"."""
        return f"{self.tokens} + {self.what} = {self.total}" if self.more else str(self.tokens)

    def advice(self, most: int) -> str:
        """What fits into `most` positions."""
        if most > self.more:
            return f"choose {most - self.more} or fewer"
        return f"{self.what} alone is too long: leave it out or choose another model"


def position_problems(config: Mapping[str, Any], lengths: Mapping[str, UsedLength]) -> list[str]:
    """Settings whose length in tokens exceeds the model's positions; `lengths` is by setting."""
    most = text_config(config).get("max_position_embeddings")
    if not isinstance(most, int):
        return []
    return [
        f"{name}: {length.text()} tokens, but the model has {most} positions; {length.advice(most)}"
        for name, length in lengths.items()
        if length.total > most
    ]


def structure_problem(config: Any) -> str | None:
    """Why the model of a Hugging Face configuration cannot run sparse; needs no weights."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    try:
        gated_ffns(model)
    except UnsupportedModelError as error:
        return str(error)
    return None
