"""Fit a low-rank map of the output to what a plan's FFNs leave over, layer after layer, on the
sparse model's inputs.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.compensators.surrogate import OutputMap, fit_output_map
from ffbench.methods.moments import Moments
from ffbench.methods.plan import SparsePlan
from ffbench.models.adapters import decoder_layers
from ffbench.runs.progress import progress_bar
from ffbench.training.layer_walk import first_hidden, layer_arguments, through
from ffbench.training.tuning.trainable_ffn import TrainableFFN, trainable


def whole_blocks(windows: Tensor, block_size: int) -> Tensor:
    """Windows [n, T] cut to whole blocks. Raises ValueError where that leaves fewer than two."""
    length = windows.shape[1] // block_size * block_size
    if length < 2 * block_size:
        raise ValueError(
            f"leftover: windows of {windows.shape[1]} tokens do not hold two blocks of {block_size}"
        )
    return windows[:, :length]


def leftover_of(
    layer: Any, sparse: TrainableFFN, hidden: list[Tensor], given: dict[str, Any], block: int
) -> Moments:
    """Moments of a layer's FFN inputs and of what its sparse blocks leave over, dense output less
    sparse output.
    """
    seen: list[tuple[Tensor, Tensor]] = []
    module = sparse.ffn.module
    hook = module.register_forward_hook(lambda one, args, out: seen.append((args[0], out)))
    d = sparse.ffn.w_gate.shape[1]
    moments = Moments.zeros(d, d)
    try:
        for states in hidden:
            seen.clear()
            through(layer, states, given)
            x, found = seen[0]
            moments.add(x[0, block:], (type(module).forward(module, x) - found)[0, block:])
    finally:
        hook.remove()
    return moments


@contextmanager
def dense_again(module: Any) -> Iterator[None]:
    """The FFN module as the model has it, inside `trainable`."""
    sparse = module.__dict__.pop("forward")
    try:
        yield
    finally:
        module.forward = sparse


@torch.no_grad()
def fit_leftover_maps(
    model: Any, plan: SparsePlan, windows: Tensor, rank: int, dense_inputs: bool = False
) -> list[OutputMap]:
    """An OutputMap of `rank` for every layer of `plan`, which has none yet; windows ids [n, T] (our
    design).

    Each map is fitted to the plan's own choice of neurons, on inputs that have gone through the
    sparse layers before, their maps included; with `dense_inputs` on those of the dense model, for
    comparison. It does not know which neurons a block skipped: it learns what is usually missing.
    """
    block = plan.settings.block_size
    windows = whole_blocks(windows, block)
    arguments = layer_arguments(model, windows[0])
    hidden = [first_hidden(model, ids) for ids in windows]
    maps = []
    with trainable(model, plan) as sparse:
        layers = zip(decoder_layers(model), sparse, arguments, strict=True)
        for layer, ffn, given in progress_bar(list(layers), desc="fit: what is left over"):
            maps.append(fit_output_map(leftover_of(layer, ffn, hidden, given, block), rank))
            ffn.use(maps[-1])
            with dense_again(ffn.ffn.module) if dense_inputs else nullcontext():
                hidden = [through(layer, states, given) for states in hidden]
    return maps
