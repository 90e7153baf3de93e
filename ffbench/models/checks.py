"""Checks of a loaded model before any work; `config_checks` has those that need no weights."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor

from ffbench.models.adapters import ACTIVATION_FUNCTIONS, GatedFFN, gated_ffns
from ffbench.models.cache_check import cache_problem, probe
from ffbench.models.errors import ModelError, UnsupportedModelError

# Largest relative error of one FFN row against the same formula in float32: about eight units in
# the last place of the products' dtype. Another formula is off by tens of percent.
FORMULA_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 6e-2, torch.float16: 8e-3}
IGNORED_WEIGHTS = ("rotary_emb.inv_freq",)  # computed from the configuration; old files hold them
SHOWN = 3  # names in a message
CHECKED: WeakSet[Any] = WeakSet()  # FFN modules that compute the formula


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
