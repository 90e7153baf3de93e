"""A model's linear layers through the faster float32 product of this machine."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from ffbench.methods.float32_products import linear, onednn_is_faster
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
def fast_linears(model: Any) -> Iterator[None]:
    """Linear layers compute with `float32_products.linear` inside; nothing changes where torch's
    own product is as fast. The same values up to rounding.
    """
    with ExitStack() as stack:
        for module in plain_linears(model) if onednn_is_faster() else []:
            stack.enter_context(attribute(module, "forward", partial(product, module)))
        yield


def use_fast_linears(model: Any) -> None:
    """The same for as long as the model lives."""
    for module in plain_linears(model) if onednn_is_faster() else []:
        module.forward = partial(product, module)  # type: ignore[method-assign]
