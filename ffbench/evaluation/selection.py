"""How near a plan's selector comes to the block oracle, layer by layer, on held-out text."""

from typing import Any

import torch
from torch import Tensor

from ffbench.methods.compensators.surrogate import residual_energy
from ffbench.methods.groups import kept_neurons
from ffbench.methods.plan import LayerPlan, SparsePlan
from ffbench.methods.selectors import SELECTORS, Scene
from ffbench.methods.similar_blocks import SIMILAR, token_order
from ffbench.models.adapters import GatedFFN, gated_ffns
from ffbench.runs.progress import progress_bar


def block_figures(scores: Tensor, energy: Tensor, kept: int) -> tuple[float, float]:
    """Recall@K and retained energy, means over blocks; scores and energy [n, f].

    recall: share of the K neurons with the largest residual energy that the scores keep too.
    Retained energy: residual energy of the kept neurons over that of the oracle's.
    """
    chosen, best = scores.topk(kept, 1).indices, energy.topk(kept, 1).indices
    hits = torch.zeros_like(energy).scatter_(1, chosen, 1.0).gather(1, best).mean(1)
    retained = energy.gather(1, chosen).sum(1) / energy.gather(1, best).sum(1).clamp_min(1e-30)
    return hits.mean().item(), retained.mean().item()


def layer_figures(
    ffn: GatedFFN, layer: LayerPlan, plan: SparsePlan, x: Tensor, a: Tensor
) -> tuple[float, float]:
    """Figures of one layer on one window: dense inputs x [T, d] and activations a [T, f], whole
    blocks after the first.
    """
    size, norms = plan.settings.block_size, ffn.w_down.float().norm(dim=0)
    count = len(x) // size - 1
    x, a = x[: size * (count + 1)], a[: size * (count + 1)]
    if plan.settings.blocks == SIMILAR:
        order = torch.cat(
            [
                torch.arange(size, device=x.device),
                token_order(x[size:].float() @ layer.surrogate.p.T, size) + size,
            ]
        )
        x, a = x[order], a[order]
    blocks = x[size:].view(count, size, -1)
    module: Any = ffn.module
    scene = Scene(
        layer,
        x[:size],
        blocks,
        lambda y: module.act_fn(module.gate_proj(y)) * module.up_proj(y),
        module.act_fn,
        norms,
        plan.settings.seed * 1009 + ffn.layer,
    )
    estimate = layer.surrogate.estimate(x[size:])
    energy = residual_energy(a[size:], estimate, norms).view(count, size, -1).mean(1)
    scores = SELECTORS[plan.settings.selector](scene).float()
    chosen = kept_neurons(scores, layer, plan.settings.group_size)
    return block_figures(torch.zeros_like(energy).scatter_(1, chosen, 1.0), energy, layer.kept)


@torch.no_grad()
def selection_figures(model: Any, plan: SparsePlan, windows: Tensor) -> list[dict[str, float]]:
    """A row a layer: layer, kept, density, recall_at_k, retained_energy; windows [n, T] run through
    the dense model.

    Raises ValueError where a window holds fewer than two blocks.
    """
    if windows.shape[1] < 2 * plan.settings.block_size:
        raise ValueError(
            f"fidelity.window: {windows.shape[1]} tokens hold fewer than two blocks of "
            f"{plan.settings.block_size}"
        )
    ffns, sums, handles = gated_ffns(model), torch.zeros(len(plan.layers), 2), []
    inputs: dict[int, Tensor] = {}

    def remember(index: int, x: Tensor) -> None:
        inputs[index] = x

    def look(index: int, a: Tensor) -> None:
        sums[index] += torch.tensor(
            layer_figures(ffns[index], plan.layers[index], plan, inputs.pop(index), a)
        )

    for ffn in ffns:
        module: Any = ffn.module
        handles.append(
            module.register_forward_pre_hook(lambda _, args, i=ffn.layer: remember(i, args[0][0]))
        )
        handles.append(
            module.down_proj.register_forward_pre_hook(
                lambda _, args, i=ffn.layer: look(i, args[0][0])
            )
        )
    try:
        for ids in progress_bar(windows, desc="selection"):
            model.model(ids.unsqueeze(0).to(model.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    f = len(plan.layers[0].order)
    means = (sums / len(windows)).tolist()
    return [
        {
            "layer": i,
            "kept": layer.kept,
            "density": layer.kept / f,
            "recall_at_k": recall,
            "retained_energy": kept,
        }
        for i, (layer, (recall, kept)) in enumerate(zip(plan.layers, means, strict=True))
    ]
