"""A CUDA graph for the simulated card: operations are recorded, and replayed on the same memory with
the host's values as they were."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from card_counts import kind_of, returns
from simulated_card import CardTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


class Recorder(TorchDispatchMode):
    """Runs operations and keeps them; refuses what a capturing stream refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[Any, Any, dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run and keep an operation."""
        kwargs = kwargs or {}
        if kind_of(func, args, kwargs) in ("read", "upload"):
            raise RuntimeError(f"operation not permitted when stream is capturing: {func.name()}")
        result = func(*args, **kwargs)
        self.steps.append((func, args, kwargs, result))
        return result


def is_view(func: Any) -> bool:
    """Whether an operation's result is a view of an argument."""
    return any(one.alias_info is not None and not one.alias_info.is_write for one in returns(func))


class RecordedGraph:
    """What `run` does, recorded; as on a card it runs once before."""

    def __init__(self, run: Callable[[], None]) -> None:
        self.replays = 0
        run()
        capturing = "transformers.utils.import_utils.is_cuda_stream_capturing"
        with Recorder() as recorder, patch(capturing, lambda: True):
            run()
        self.steps = recorder.steps

    def replay(self) -> None:
        """The same operations; results go to the memory of those that were recorded."""
        self.replays += 1
        for func, args, kwargs, result in self.steps:
            if is_view(func):
                continue
            again = func(*args, **kwargs)
            written = "out" in kwargs or any(
                one.alias_info is not None and one.alias_info.is_write for one in returns(func)
            )
            if written:
                continue
            for old, new in zip(tree_flatten(result)[0], tree_flatten(again)[0], strict=True):
                if isinstance(old, CardTensor):
                    old.inner.copy_(new.inner)
                elif isinstance(old, torch.Tensor):
                    old.copy_(new)
