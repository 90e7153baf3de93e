"""A second device for tests without a card: tensors that hold real data and refuse to mix.

PyTorch built without CUDA cannot even index a fake tensor on "cuda", and fake tensors have no data,
so thresholds, k-means and files could not be tested on them. These tensors claim the device "meta",
compute on the CPU, and raise the error that a card would raise if devices are mixed.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

CARD = torch.device("meta")
# these read or write another device's tensors on a real card too
CROSSING = {"_to_copy", "copy_", "_local_scalar_dense", "to"}

# a card's tensor may be indexed from the CPU, but not the other way round
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}


class CardTensor(torch.Tensor):
    """A tensor whose data is `inner`, on the CPU, and whose device is CARD."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> "CardTensor":
        """Wrap a tensor of the CPU."""
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=CARD,
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute on the CPU and keep the device."""
        return dispatch(func, args, kwargs or {})

    def __repr__(self) -> str:  # type: ignore[override]
        return f"CardTensor({self.inner!r})"


def check(func: Any, args: Any, kwargs: dict[str, Any], wanted: torch.device | None) -> None:
    """Raise RuntimeError for what a real card refuses."""
    name = func._schema.name.split("::")[1]
    flat = tree_flatten((args, kwargs))[0]
    on_card = any(isinstance(value, CardTensor) for value in flat) or wanted == CARD
    if on_card and any(isinstance(value, torch.Generator) for value in flat):
        raise RuntimeError(f"{name}: a generator of the CPU for a tensor on the card")
    if name in CROSSING:
        return
    if name in INDEXING and isinstance(args[0], CardTensor):
        flat = [args[0], *tree_flatten(args[2:])[0]]
    tensors = [value for value in flat if isinstance(value, torch.Tensor)]
    devices = {value.device.type for value in tensors if value.dim() or value.device == CARD}
    if len(devices) > 1:
        shapes = [(value.device.type, tuple(value.shape)) for value in tensors]
        raise RuntimeError(f"{name}: tensors on different devices: {shapes}")


def dispatch(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation on tensors of either device."""
    wanted = kwargs.get("device")
    wanted = torch.device(wanted) if wanted is not None else None
    check(func, args, kwargs, wanted)
    flat = tree_flatten((args, kwargs))[0]
    on_card = any(isinstance(value, CardTensor) for value in flat)
    name = func._schema.name.split("::")[1]
    if name == "copy_":
        on_card = isinstance(args[0], CardTensor)
    if wanted is not None:
        on_card = wanted == CARD
        kwargs = kwargs | {"device": torch.device("cpu")}
    plain = lambda value: value.inner if isinstance(value, CardTensor) else value  # noqa: E731
    result = func(*tree_map(plain, args), **tree_map(plain, kwargs))
    if name.endswith("_") and not name.endswith("__") and isinstance(args[0], torch.Tensor):
        return args[0]
    if "out" in kwargs:
        return kwargs["out"]
    if not on_card:
        return result
    return tree_map(lambda v: CardTensor(v) if isinstance(v, torch.Tensor) else v, result)


class Values(TorchFunctionMode):
    """`torch.tensor`, `tolist` and `.data = ` on the card, which PyTorch does without an operation
    to see.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Made on the CPU and moved."""
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if func is torch.Tensor.tolist and isinstance(args[0], CardTensor):
            return args[0].cpu().tolist()  # one read
        if func == torch.Tensor.data.__set__ and isinstance(args[0], CardTensor):
            args[0].inner = args[1].inner
        if func is torch.tensor and device is not None and torch.device(device) == CARD:
            return func(*args, **(kwargs | {"device": "cpu"})).to(CARD)
        return func(*args, **kwargs)


class Card(TorchDispatchMode):
    """Operations that make a tensor on the card from nothing, or move one there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """As `dispatch`."""
        return dispatch(func, args, kwargs or {})


def on_card(model: Any) -> Any:
    """A copy of a model with its weights and buffers on the card; tied ones stay tied."""
    moved: dict[int, Any] = {}
    twin = copy.deepcopy(model)
    for module in twin.modules():
        for name, value in list(module._parameters.items()):
            if value is not None:
                wrapped = torch.nn.Parameter(CardTensor(value.data), requires_grad=False)
                module._parameters[name] = moved.setdefault(id(value), wrapped)
        for name, value in list(module._buffers.items()):
            if value is not None:
                module._buffers[name] = moved.setdefault(id(value), CardTensor(value))
    return twin


@contextmanager
def simulated_card() -> Iterator[None]:
    """Inside, device="meta" is the simulated card, and no sign of offloaded weights."""
    with patch("ffbench.models.checks.offload_problem", lambda model: None), Card(), Values():
        yield
