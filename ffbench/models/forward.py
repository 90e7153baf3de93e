"""Parts of a model's forward pass: hidden states, and the logits that the model makes of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from torch import Tensor


class ForwardError(ValueError):
    """A model's forward pass has a form that FFBench cannot split; the text says which."""


def last_hidden(model: Any, ids: Tensor) -> Tensor:
    """Hidden states [T, d] of one window ids [T] before the output head."""
    output = model.model(ids.unsqueeze(0).to(model.device), use_cache=False)
    return output.last_hidden_state[0]  # type: ignore[no-any-return]


def with_cache(module: Any, cache: Any) -> dict[str, Any]:
    """Keyword arguments that make a model, or its decoder, read and extend `cache`."""
    # transformers 5.24 renamed the argument; models outside it keep the older name
    new = "cache" in signature(type(module).forward).parameters
    return {"cache" if new else "past_key_values": cache, "use_cache": True}


@contextmanager
def attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an instance attribute inside, and put back what was there before."""
    missing = object()
    before = owner.__dict__.get(name, missing)
    owner.__dict__[name] = value
    try:
        yield
    finally:
        if before is missing:
            owner.__dict__.pop(name, None)
        else:
            owner.__dict__[name] = before


def logits_of(model: Any, hidden: Tensor) -> Tensor:
    """Logits [..., T, vocabulary] of hidden states [..., T, d], with gradients.

    The model's own forward runs with its decoder replaced by these states, so that whatever it does
    after them counts: the head, a scale, a soft cap. A mixture of experts reads the router's logits
    too, of which there are none.
    """
    from transformers.modeling_outputs import MoeModelOutputWithPast

    flat = hidden.reshape(1, -1, hidden.shape[-1])
    output = MoeModelOutputWithPast(last_hidden_state=flat)
    with attribute(model.model, "forward", lambda *args, **kwargs: output):
        logits = model(inputs_embeds=flat, use_cache=False).logits
    return logits.reshape(*hidden.shape[:-1], logits.shape[-1])  # type: ignore[no-any-return]


@torch.no_grad()
def check_logits(model: Any, tokens: int = 8) -> None:
    """Compare `logits_of` with the model itself on a few tokens.

    Raises ForwardError if they differ by more than rounding: measurements would be of another
    model.
    """
    ids = torch.arange(1, tokens + 1) % model.config.get_text_config().vocab_size
    whole = model(ids.unsqueeze(0).to(model.device), use_cache=False).logits[0].float()
    try:
        parts = logits_of(model, last_hidden(model, ids)).float()
    except Exception as error:  # the rest of a foreign forward can need more than hidden states
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ForwardError(unsplit(model, f" ({reason})")) from error
    spread = whole.abs().max().clamp_min(1e-6)
    # one rounding step of bfloat16 is 2^-8 of a value
    if not torch.allclose(parts, whole, rtol=2**-7, atol=float(spread) * 2**-7):
        raise ForwardError(unsplit(model))


def unsplit(model: Any, reason: str = "") -> str:
    """The sentence for a model whose logits are not made of its last hidden states alone."""
    return (
        f"model type {model.config.model_type!r}: its logits cannot be made from its last hidden "
        f"states{reason}, so fidelity, schedules and tuning would measure another model; choose a "
        "model of docs/models.md"
    )


def divergence(model: Any, dense: Tensor, sparse: Tensor) -> Tensor:
    """KL(dense || sparse) in nats of the next-token distributions, mean over positions; final
    hidden states [n, d].
    """
    with torch.no_grad():
        p = logits_of(model, dense).float().log_softmax(-1)
    q = logits_of(model, sparse).float().log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1).mean()
