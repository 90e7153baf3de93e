"""Checks of a model before any work: its configuration, then the weights that were read."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor

from ffbench.models.adapters import ACTIVATION_FUNCTIONS, ACTIVATIONS, GatedFFN, gated_ffns
from ffbench.models.cache_check import cache_problem, layer_problems, probe
from ffbench.models.errors import ModelError, UnsupportedModelError

# Largest relative error of one FFN row against the same formula in float32: about eight units in
# the last place of the products' dtype. Another formula is off by tens of percent.
FORMULA_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 6e-2, torch.float16: 8e-3}
# FFNs that are not gated, or not in this way, by model_type: the refusal names what they have.
OTHER_FFNS = {
    "gpt2": "its FFN has no gate (c_fc and c_proj)",
    "gpt_neox": "its FFN has no gate (dense_h_to_4h and dense_4h_to_h)",
    "opt": "its FFN has no gate (fc1 and fc2)",
    "phi": "its FFN has no gate (fc1 and fc2)",
    "bitnet": "its FFN has a norm before the down projection",
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
IGNORED_WEIGHTS = ("rotary_emb.inv_freq",)  # computed from the configuration; old files hold them
SHOWN = 3  # names in a message
CHECKED: WeakSet[Any] = WeakSet()  # FFN modules that compute the formula


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
    choice = "".join(f"{one} or " for one in mixtures)
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
    if mixture := mixture_problem(config, mixtures):
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


def weight_problems(info: Mapping[str, Any]) -> list[str]:
    """Weights that are missing, unexpected or of another shape; `info` is transformers'."""
    problems = []
    for key, text in (
        ("missing_keys", "weights are missing from the checkpoint"),
        ("mismatched_keys", "weights have another shape than the configuration says"),
        ("unexpected_keys", "weights of the checkpoint have no place in the model"),
    ):
        names = sorted(
            str(name[0] if isinstance(name, tuple) else name)
            for name in info.get(key) or ()
            if not str(name).endswith(IGNORED_WEIGHTS)
        )
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            problems.append(f"model: {len(names)} {text}: {', '.join(names[:SHOWN])}{more}")
    return problems


def gated_row(ffn: GatedFFN, x: Tensor) -> Tensor:
    """act(x Wg^T) * (x Wu^T), then Wd^T, in float32; x [1, d] -> [1, d]."""
    x, gate, up, down = (t.float() for t in (x, ffn.w_gate, ffn.w_up, ffn.w_down))
    return (ACTIVATION_FUNCTIONS[ffn.activation](x @ gate.T) * (x @ up.T)) @ down.T


@torch.no_grad()
def formula_problem(ffn: GatedFFN, forward: Callable[[Tensor], Tensor] | None = None) -> str | None:
    """Why one layer's FFN does not compute act(gate) * up through down; None if it does.

    One random row tells: sparse prefill computes this formula and nothing else. `forward` is
    called in place of the module.
    """
    d = ffn.w_gate.shape[1]
    row = torch.randn(1, d, generator=torch.Generator().manual_seed(ffn.layer))
    x = row.to(ffn.w_gate.device, ffn.w_gate.dtype)
    try:
        got = (forward or ffn.module)(*ffn.arguments(x)).reshape(1, d).float()
    except Exception as error:  # noqa: BLE001 - a foreign forward can raise anything
        return f"{ffn.name}: its FFN cannot be called with hidden states alone ({error})"
    expected = gated_row(ffn, x)
    if not bool(torch.isfinite(expected).all()):
        return f"{ffn.name}: weights of its FFN are not finite; fetch the model again"
    distance = float((got - expected).norm() / expected.norm().clamp_min(1e-30))
    if distance <= FORMULA_TOLERANCE[ffn.w_gate.dtype]:
        return None
    return (
        f"{ffn.name}: {type(ffn.module).__name__} does not compute "
        f"{ffn.activation}(gate) * up through down (off by {distance:.0%} on a random row)"
    )


@torch.no_grad()
def logits_problem(model: Any) -> str | None:
    """Why the model's logits cannot be used; None if they are finite, at once and from a cache."""
    ids = probe(model)
    try:
        logits = model(ids, use_cache=False).logits
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - a foreign forward can raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return (
            f"model: its forward pass fails ({reason}), so config.json does not fit its weights or "
            "its class; fetch it again"
        )
    if bool(torch.isfinite(logits).all()):
        return cache_problem(model, ids, logits)
    dtype = str(model.dtype).removeprefix("torch.")
    if dtype == "float32":
        return (
            "model: logits are not finite in float32, so its weights or config.json are damaged; "
            "fetch it again"
        )
    other = "bfloat16 or float32" if dtype == "float16" else "float32"
    return f"model.dtype: logits are not finite in {dtype}; choose {other}"


def tokenizer_problem(model: Any, tokenizer: Any) -> str | None:
    """A tokenizer that has more tokens than the embedding has rows."""
    rows = model.get_input_embeddings().weight.shape[0]
    tokens = len(tokenizer) if hasattr(tokenizer, "__len__") else 0
    if tokens <= rows:
        return None
    return (
        f"model: the tokenizer has {tokens} tokens, but the embedding has {rows} rows; they do not "
        "belong together"
    )


def offload_problem(model: Any) -> str | None:
    """Weights that accelerate keeps away from the device (offloading to the CPU or to disk)."""
    names = [name for name, weight in model.named_parameters() if weight.device.type == "meta"]
    if not names:
        return None
    return (
        f"model.device_map: {len(names)} weights are offloaded (first: {names[0]}); offloading is "
        "not supported: use a larger or further card, a smaller dtype or model.device=cpu"
    )


def check_ffns(model: Any, ffns: list[GatedFFN]) -> None:
    """Check that each FFN can be replaced by its formula: weights that are there, and a class that
    computes it. What somebody put on a module in place of its class's forward is not looked at.

    Each module is checked once. Raises UnsupportedModelError.
    """
    new = [ffn for ffn in ffns if ffn.module not in CHECKED]
    if new and (offloaded := offload_problem(model)):
        raise UnsupportedModelError(offloaded)
    for ffn in new:
        own = partial(type(ffn.module).forward, ffn.module)
        if problem := formula_problem(ffn, own):
            raise UnsupportedModelError(f"model: {problem}")
        CHECKED.add(ffn.module)


def check_loaded(model: Any, tokenizer: Any, info: Mapping[str, Any] | None = None) -> None:
    """Check a loaded model before any work; `info` is transformers' loading info if there is any.

    Raises ModelError with everything that is wrong with the weights, the FFNs, the logits or the
    tokenizer. Costs a few short forwards and one row through each FFN.
    """
    problems = weight_problems(info or {})
    if getattr(model, "peft_config", None):
        problems.append(
            "model: it is an adapter, loaded over a base model that no setting names; merge it "
            "into its base model first"
        )
    if offloaded := offload_problem(model):
        problems.append(offloaded)
    if problems:
        raise ModelError("; ".join(problems))
    for ffn in gated_ffns(model):
        if problem := formula_problem(ffn):
            raise UnsupportedModelError(f"model: {problem}")
    for problem in (tokenizer_problem(model, tokenizer), logits_problem(model)):
        if problem:
            raise ModelError(problem)
