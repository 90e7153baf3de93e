"""What a backward pass through a frozen model needs, in little memory."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch.utils.checkpoint import checkpoint

from ffbench.models.adapters import decoder_layers
from ffbench.models.forward import attribute


@contextmanager
def frozen_weights(model: Any) -> Iterator[None]:
    """No weight asks for a gradient inside; afterwards those that did before do again."""
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in trainable:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trainable:
            weight.requires_grad_(True)


def recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A layer's forward that keeps only its inputs for the backward pass, and runs again there.
    Nothing in it is random.
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    return wrapped


@contextmanager
def recomputed_layers(model: Any, recompute: bool | None = None) -> Iterator[None]:
    """The backward pass computes each decoder layer again, instead of keeping what it needs of all
    layers: a third more time, the same gradients.

    None: on a card, whose memory is small (docs/gpu.md); False: nothing is changed.
    """
    if recompute is None:
        recompute = model.device.type != "cpu"
    with ExitStack() as stack:
        for layer in decoder_layers(model) if recompute else []:
            stack.enter_context(attribute(layer, "forward", recomputed(layer.forward)))
        yield
