"""What a pass asks of the simulated card: operations that launch work, reads and uploads."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from simulated_card import CARD, CardTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from ffbench.evaluation.stopwatch import around_ffns

READS = {"_local_scalar_dense", "nonzero", "equal", "masked_select", "is_nonzero", "bincount"}
NO_LAUNCH = {"empty", "empty_like", "new_empty", "_unsafe_view", "lift_fresh", "_reshape_alias"}


@dataclass
class Counts:
    """Operations that launch work by name; reads by the host; uploads from the host."""

    launches: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    uploads: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, kind: str) -> None:
        """Count one operation."""
        {"launch": self.launches, "read": self.reads, "upload": self.uploads}[kind][name] += 1


def device_of(args: Any, kwargs: dict[str, Any]) -> str:
    """Where an operation's tensors are: "card", or "cpu"."""
    tensors = (value for value in tree_flatten((args, kwargs))[0] if isinstance(value, CardTensor))
    return "card" if next(tensors, None) is not None else "cpu"


def kind_of(func: Any, args: Any, kwargs: dict[str, Any]) -> str | None:
    """What an operation is for a card; None for those of the CPU, views and allocations.

    An index of truth values is found by reading it.
    """
    name = func._schema.name.split("::")[1]
    here = device_of(args, kwargs)
    wanted = kwargs.get("device")
    there = here if wanted is None else "card" if torch.device(wanted) == CARD else "cpu"
    if name == "copy_":
        here, there = device_of(args[1], {}), device_of(args[0], {})
    if here != there and name in ("_to_copy", "copy_"):
        return "read" if here == "card" else "upload"
    if there == "cpu" or func.namespace == "prim" or name in NO_LAUNCH:
        return None
    if any(one.alias_info is not None and not one.alias_info.is_write for one in returns(func)):
        return None
    indices = tree_flatten(args[1:])[0] if name in ("index", "index_put", "index_put_") else []
    masks = any(getattr(one, "dtype", None) in (torch.bool, torch.uint8) for one in indices)
    return "read" if name in READS or masks else "launch"


def returns(func: Any) -> Any:
    """What an operation returns, by its schema."""
    return func._schema.returns


class Watch(TorchDispatchMode):
    """Counts operations while `inside` is true, others as `outside`."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.outside, self.current = Counts(), Counts(), None
        self.current = self.outside

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count the operation and run it."""
        kind = kind_of(func, args, kwargs or {})
        if kind:
            self.current.add(func._schema.name.split("::")[1], kind)
        return func(*args, **(kwargs or {}))


@contextmanager
def watched(model: Any) -> Iterator[Callable[[], tuple[Counts, Counts]]]:
    """Count what the model's FFNs ask of the card, and what the rest does."""
    watch = Watch()

    def enter() -> None:
        watch.current = watch.inside

    def leave() -> None:
        watch.current = watch.outside

    with around_ffns(model, enter, leave), watch:
        yield lambda: (watch.inside, watch.outside)
