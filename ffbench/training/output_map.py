"""Fit a low-rank map of the output to the residual of a plan's own choice, layer after layer, on
the sparse model's inputs (our design).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.compensators import OutputMap
from ffbench.methods.linalg import Moments, leading_directions, whitening
from ffbench.methods.plan import SparsePlan
from ffbench.models.adapters import decoder_layers
from ffbench.models.forward import attribute
from ffbench.runs.progress import progress_bar
from ffbench.runs.tensor_files import load_tensors, save_tensors
from ffbench.training.layer_walk import first_hidden, layer_arguments, layer_forward
from ffbench.training.tuning.trainable_ffn import TrainableFFN, trainable

FILE = "output_maps.safetensors"


def fit_output_map(
    moments: Moments, rank: int, ridge: float = 1e-3, metric: Tensor | None = None
) -> OutputMap:
    """Low-rank map from x [d] to what is missing in the output [d], from moments whose `a` is that.

    Minimises E |missing - b - V P x|^2 by reduced-rank ridge regression, or with a metric M [d, d]
    the mean of e^T M e for the same error e; ranks above d give the whole map, rank d. Any root of
    M, which is positive definite, gives the same directions, and the best map onto them does not
    depend on M. Raises ValueError for a rank below 1.
    """
    if rank < 1:
        raise ValueError(f"compensator.output_map_rank: {rank} is too small; choose 1 or more")
    factor, cross, mean_x, mean_missing = whitening(moments, ridge)
    target = cross
    if metric is not None:
        target = cross @ torch.linalg.cholesky(metric.to(cross))
    projection, left, half = leading_directions(factor, target, min(rank, len(mean_x)))
    if metric is not None:
        half = torch.linalg.solve_triangular(factor, cross, upper=False)
    expansion = (left.T @ half).T  # [d, r]
    bias = mean_missing - expansion @ (projection @ mean_x)
    return OutputMap(projection.float().contiguous(), expansion.float().contiguous(), bias.float())


def whole_blocks(windows: Tensor, block_size: int) -> Tensor:
    """Windows [n, T] cut to whole blocks. Raises ValueError if that leaves fewer than two."""
    length = windows.shape[1] // block_size * block_size
    if length < 2 * block_size:
        raise ValueError(
            f"output map: windows of {windows.shape[1]} tokens do not hold two blocks of "
            f"{block_size}"
        )
    return windows[:, :length]


@dataclass
class FirstPass:
    """What a layer's pass over the windows gives: moments of its FFN inputs and of what its sparse
    blocks miss (dense output less sparse output); by window its FFN's outputs [1, T, d] and what
    its attention returned (nothing for a layer without `self_attn`).
    """

    moments: Moments
    outputs: list[Tensor] = field(default_factory=list)
    attended: list[Any] = field(default_factory=list)


def first_pass(
    layer: Any, sparse: TrainableFFN, hidden: list[Tensor], given: dict[str, Any]
) -> FirstPass:
    """Run a layer with its FFN sparse, as yet without a map, over hidden states [1, T, d]."""
    d = sparse.ffn.w_gate.shape[1]
    result = FirstPass(Moments.zeros(d, d, sparse.ffn.w_gate.device))
    seen: list[tuple[Tensor, Tensor]] = []
    module, attention = sparse.ffn.module, getattr(layer, "self_attn", None)
    hooks = [module.register_forward_hook(lambda _, args, out: seen.append((args[0], out)))]
    if attention is not None:
        hooks.append(
            attention.register_forward_hook(lambda _, args, out: result.attended.append(out))
        )
    try:
        for states in hidden:
            seen.clear()
            layer_forward(layer, states, given)
            x, output = seen[0]
            result.outputs.append(output)
            first = sparse.first(x.shape[1])
            missing = sparse.dense_forward(x) - output
            result.moments.add(x[0, first:], missing[0, first:])
    finally:
        for hook in hooks:
            hook.remove()
    return result


def mapped_again(
    sparse: TrainableFFN, output_map: OutputMap, outputs: list[Tensor]
) -> Callable[[Tensor], Tensor]:
    """The FFN's forward for one more pass over the same windows: what it gave before plus the map,
    which saves the sparse products.
    """
    before = iter(outputs)

    def forward(x: Tensor) -> Tensor:
        output = next(before)
        if not sparse.layer.whole:
            first = sparse.first(x.shape[1])
            output[0, first:] += output_map.of(x[0, first:].float()).to(output.dtype)
        return output

    return forward


@contextmanager
def attended_again(layer: Any, attended: list[Any]) -> Iterator[None]:
    """The layer's attention gives what it gave for the same windows before: it reads nothing of the
    FFN after it.
    """
    if not attended:
        yield
        return
    before = iter(attended)
    with attribute(layer.self_attn, "forward", lambda *args, **kwargs: next(before)):
        yield


@torch.no_grad()
def fit_output_maps(
    model: Any,
    plan: SparsePlan,
    windows: Tensor,
    rank: int,
    dense_inputs: bool = False,
    metric: Tensor | None = None,
) -> list[OutputMap]:
    """An OutputMap of `rank` for every layer of `plan`, which has none yet; windows ids [n, T].

    Each map is fitted to the plan's own choice of neurons, on inputs that have gone through the
    sparse layers before, their maps included; with `dense_inputs` on those of the dense model, for
    comparison. metric [layers, d, d] says how errors count. A map does not know which neurons a
    block skipped: it learns what is usually missing.
    """
    windows = whole_blocks(windows, plan.settings.block_size)
    arguments = layer_arguments(model, windows[0])
    hidden = [first_hidden(model, ids) for ids in windows]
    maps = []
    with trainable(model, plan, learns_choice=False) as sparse:
        layers = list(zip(decoder_layers(model), sparse, arguments, strict=True))
        for i, (layer, ffn, given) in enumerate(progress_bar(layers, desc="fit: output maps")):
            seen = first_pass(layer, ffn, hidden, given)
            counts = None if metric is None else metric[i]
            maps.append(fit_output_map(seen.moments, rank, metric=counts))
            again = mapped_again(ffn, maps[-1], seen.outputs)
            forward = ffn.dense_forward if dense_inputs else again
            with (
                attribute(ffn.ffn.module, "forward", forward),
                attended_again(layer, seen.attended),
            ):
                hidden = [layer_forward(layer, states, given) for states in hidden]
    return maps


def save_maps(maps: list[OutputMap], folder: Path) -> None:
    """Write the maps of all layers."""
    save_tensors(
        {
            f"{i}.{name}": getattr(one, name).contiguous().cpu()
            for i, one in enumerate(maps)
            for name in OutputMap.axes
        },
        folder / FILE,
    )


def load_maps(folder: Path) -> list[OutputMap]:
    """Read what `save_maps` wrote."""
    tensors = load_tensors(folder / FILE)
    count = len(tensors) // len(OutputMap.axes)
    return [
        OutputMap(**{name: tensors[f"{i}.{name}"] for name in OutputMap.axes}) for i in range(count)
    ]
