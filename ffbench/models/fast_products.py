"""A model through the faster float32 product of this machine: linear layers and attention."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from ffbench.methods.float32_products import linear, onednn_is_faster
from ffbench.models.fast_attention import fast_attention, use_fast_attention
from ffbench.models.forward import attribute


def plain_linears(model: nn.Module) -> list[nn.Linear]:
    """Modules that are nothing but torch's Linear, with its own forward."""
    return [
        module
        for module in model.modules()
        if type(module) is nn.Linear and "forward" not in module.__dict__
    ]


def product(module: nn.Linear, x: Tensor) -> Tensor:
    """The module's forward."""
    return linear(x, module.weight, module.bias)


@contextmanager
def fast_products(model: Any) -> Iterator[None]:
    """Linear layers compute with `float32_products.linear` inside and prompts attend by
    `fast_attention`; nothing changes where torch's own products are as fast. The same values up to
    rounding, and the model as before afterwards.
    """
    with ExitStack() as stack:
        for module in plain_linears(model) if onednn_is_faster() else []:
            stack.enter_context(attribute(module, "forward", partial(product, module)))
        stack.enter_context(fast_attention(model))
        yield


def use_fast_products(model: Any) -> None:
    """The same for as long as the model lives."""
    for module in plain_linears(model) if onednn_is_faster() else []:
        module.forward = partial(product, module)  # type: ignore[method-assign]
    use_fast_attention(model)
