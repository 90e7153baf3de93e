"""How near a plan's selector comes to the block oracle, layer by layer, on held-out text."""

from typing import Any

import torch
from torch import Tensor

from ffbench.methods.energy import residual_energy
from ffbench.methods.plan import LayerPlan, SparsePlan
from ffbench.models.adapters import GatedFFN, gated_ffns
from ffbench.models.block_ffn import BlockChooser
from ffbench.runs.progress import progress_bar


def block_metrics(scores: Tensor, energy: Tensor, kept: int) -> tuple[float, float]:
    """Recall@K and retained energy, means over blocks; scores and energy [n, f].

    Recall: share of the K neurons with the largest residual energy that the scores keep too.
    Retained energy: residual energy of the kept neurons over that of the oracle's.
    """
    chosen, best = scores.topk(kept, 1).indices, energy.topk(kept, 1).indices
    hits = torch.zeros_like(energy).scatter_(1, chosen, 1.0).gather(1, best).mean(1)
    retained = energy.gather(1, chosen).sum(1) / energy.gather(1, best).sum(1).clamp_min(1e-30)
    return hits.mean().item(), retained.mean().item()


def layer_metrics(
    ffn: GatedFFN, layer: LayerPlan, plan: SparsePlan, x: Tensor, a: Tensor
) -> tuple[float, float]:
    """Recall@K and retained energy of one layer on one window: dense inputs x [T, d] and
    activations a [T, f], whole blocks after the first. Blocks that keep nothing do not count.
    """
    size = plan.settings.block_size
    layer = layer.on(x.device)
    chooser = BlockChooser(ffn, layer, plan.settings)
    count = len(x) // size - 1
    x, a = x[: size * (count + 1)], a[: size * (count + 1)]
    before, x, a = x[:size], x[size:], a[size:]
    if chooser.reorders:
        order = chooser.token_order(x, layer.compensation.features(x))
        x, a = x[order], a[order]
    blocks = x.view(count, size, -1)
    energy = residual_energy(a, layer.compensation.estimate(x), chooser.down_norms)
    energy = energy.view(count, size, -1).mean(1)
    recalls, energies = [], []
    for row, positions in zip(energy, chooser.dynamic(before, blocks), strict=True):
        kept, _ = chooser.neurons([positions])
        if not kept.shape[1]:  # a block that keeps nothing, which schedules by block may give
            continue
        mask = torch.zeros_like(row)[None].scatter_(1, kept, 1.0)
        recall, retained = block_metrics(mask, row[None], kept.shape[1])
        recalls.append(recall)
        energies.append(retained)
    if not recalls:
        return 1.0, 1.0
    return sum(recalls) / len(recalls), sum(energies) / len(energies)


@torch.no_grad()
def selection_metrics(model: Any, plan: SparsePlan, windows: Tensor) -> list[dict[str, float]]:
    """A row per layer: layer, kept, density, recall_at_k, retained_energy; windows [n, T] run
    through the dense model. Raises ValueError if a window holds fewer than two blocks.
    """
    if windows.shape[1] < 2 * plan.settings.block_size:
        raise ValueError(
            f"selection: windows of {windows.shape[1]} tokens hold fewer than two blocks of "
            f"{plan.settings.block_size}"
        )
    ffns, sums, handles = gated_ffns(model), torch.zeros(len(plan.layers), 2), []
    inputs: dict[int, Tensor] = {}

    def remember(index: int, x: Tensor) -> None:
        inputs[index] = x

    def add(index: int, a: Tensor) -> None:
        values = layer_metrics(ffns[index], plan.layers[index], plan, inputs.pop(index), a)
        sums[index] += torch.tensor(values)

    for ffn in ffns:
        handles.append(
            ffn.module.register_forward_pre_hook(
                lambda _, args, i=ffn.layer: remember(i, args[0][0])
            )
        )
        handles.append(
            ffn.down.register_forward_pre_hook(lambda _, args, i=ffn.layer: add(i, args[0][0]))
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
