"""Better dense models to compare a time to first token with."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from ffbench.models.adapters import GatedFFN, gated_ffns
from ffbench.models.forward import attribute

ROOM = 1.2  # times the bytes of the merged weights that must be free


@contextmanager
def merged_gate_up(model: Any) -> Iterator[None]:
    """Each FFN computes gate and up in one product, as serving engines do, from copies of both."""
    with ExitStack() as stack:
        for ffn in gated_ffns(model):
            forward = merged_forward(ffn, torch.cat([ffn.w_gate, ffn.w_up]))
            stack.enter_context(attribute(ffn.module, "forward", forward))
        yield


def merged_forward(ffn: GatedFFN, weights: Tensor) -> Callable[[Tensor], Tensor]:
    """The forward of a gated FFN with its gate above its up weights [2f, d]."""
    act, down = ffn.act, ffn.down

    def forward(x: Tensor) -> Tensor:
        gate, up = torch.nn.functional.linear(x, weights).chunk(2, dim=-1)
        return down(act(gate) * up)  # type: ignore[no-any-return]

    return forward


@contextmanager
def compiled(model: Any, backend: str | None = None) -> Iterator[None]:
    """The whole forward by torch.compile, on a card with CUDA graphs; the first call compiles it.

    What a call returns is only valid until the next one. backend: of torch.compile; None for its
    own (inductor).
    """
    options: dict[str, Any] = {"backend": backend} if backend else {"mode": "reduce-overhead"}
    fast = torch.compile(model.forward, dynamic=False, **options)

    def forward(*args: Any, **kwargs: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return fast(*args, **kwargs)

    with attribute(model, "forward", forward):
        yield


def baselines(model: Any) -> dict[str, Callable[[Any], AbstractContextManager[None]]]:
    """The changes of a dense model on a card that are timed, by name; none without room for the
    copies.
    """
    ffns = gated_ffns(model)
    needed = sum((f.w_gate.numel() + f.w_up.numel()) * f.w_gate.element_size() for f in ffns)
    roomy = torch.cuda.mem_get_info(model.device)[0] > ROOM * needed
    return {"merged_gate_up": merged_gate_up} if roomy else {}
