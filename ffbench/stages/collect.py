"""Stream calibration text through the dense model and keep sums only."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ffbench.models.adapters import GatedFFN, gated_ffns
from ffbench.sparsity.moments import Moments
from ffbench.sparsity.predictor import EnergySums, features
from ffbench.sparsity.surrogate import Surrogate, residual_energy


def windows(model_tokenizer: Any, documents: Iterable[str], tokens: int, length: int) -> Tensor:
    """Token windows [tokens // length, length] of the documents joined; ValueError when there is too little text."""
    ids: list[int] = []
    for text in documents:
        ids.extend(model_tokenizer.encode(text, add_special_tokens=False))
        if len(ids) >= tokens:
            break
    count = min(len(ids), tokens) // length
    if count == 0:
        raise ValueError(f"collect: the text has {len(ids)} tokens, one window needs {length}")
    return torch.tensor(ids[: count * length]).view(count, length)


@torch.no_grad()
def watch_ffns(model: Any, batches: Tensor, look: Callable[[GatedFFN, Tensor, Tensor], None], label: str) -> None:
    """Run every window and call look(ffn, x [T, d], a [T, f]) for each layer."""
    handles = []
    for ffn in gated_ffns(model):
        def remember(module: Any, args: tuple) -> None:
            module._ffbench_input = args[0][0]

        handles.append(ffn.module.register_forward_pre_hook(remember))
        handles.append(ffn.module.down_proj.register_forward_pre_hook(  # type: ignore[union-attr]
            lambda module, args, ffn=ffn: look(ffn, ffn.module._ffbench_input, args[0][0])))
    try:
        for ids in tqdm(batches, desc=label):
            model(ids.unsqueeze(0), logits_to_keep=1, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
        for ffn in gated_ffns(model):
            ffn.module.__dict__.pop("_ffbench_input", None)


def collect_moments(model: Any, batches: Tensor) -> list[Moments]:
    """Moments of every layer over windows [n, T]."""
    sums = [Moments.zeros(ffn.w_gate.shape[1], ffn.w_gate.shape[0]) for ffn in gated_ffns(model)]
    watch_ffns(model, batches, lambda ffn, x, a: sums[ffn.layer].add(x, a), "collect: moments")
    return sums


def collect_energies(model: Any, batches: Tensor, surrogates: list[Surrogate], projections: list[Tensor],
                     means: list[Tensor], block: int) -> list[EnergySums]:
    """Block sums of features and residual energies of every layer; block 0 of a window is left out."""
    ffns = gated_ffns(model)
    sums = [EnergySums.zeros(p.shape[0], f.w_gate.shape[0]) for p, f in zip(projections, ffns, strict=True)]
    norms = [f.w_down.float().norm(dim=0) for f in ffns]

    def look(ffn: GatedFFN, x: Tensor, a: Tensor) -> None:
        i, end = ffn.layer, len(x) // block * block
        x, a = x[block:end], a[block:end]
        energy = residual_energy(a, surrogates[i].estimate(x), norms[i])
        phi = features(x, projections[i], means[i])
        sums[i].add(phi.view(-1, block, phi.shape[1]).mean(1), energy.view(-1, block, energy.shape[1]).mean(1))

    watch_ffns(model, batches, look, "collect: energies")
    return sums
