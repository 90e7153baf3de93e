"""How much the model's next-token distribution bends where a neuron's output moves (second order,
our design).
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ffbench.evaluation.fidelity import last_hidden
from ffbench.models.adapters import gated_ffns
from ffbench.runs.progress import progress_bar
from ffbench.training.layer_walk import SINK_TOKENS
from ffbench.training.tuning.teacher import positions_of

FILE = "curvature.safetensors"


def neuron_curvature(model: Any, windows: Tensor, seed: int = 0) -> Tensor:
    """E (w_j . g)^2 of every neuron, [layers, f]: windows ids [n, T], w_j a down column, g a
    gradient.

    g is the gradient of -log p(y) with respect to the FFN's output at one token, y drawn from the
    model's own distribution at some later positions: the mean of g g^T is the Fisher information F,
    and KL(p || p') of a small change e of the output is e^T F e / 2. Tokens of the first
    SINK_TOKENS are left out.
    """
    ffns = gated_ffns(model)
    total = torch.zeros(len(ffns), ffns[0].w_gate.shape[0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    frozen = [one for one in model.parameters() if one.requires_grad]
    outputs: list[Tensor] = []
    hooks = [
        model.get_input_embeddings().register_forward_hook(
            lambda module, args, out: out.requires_grad_()
        )
    ]
    hooks += [
        ffn.module.register_forward_hook(lambda module, args, out: outputs.append(out))
        for ffn in ffns
    ]
    for one in frozen:
        one.requires_grad_(False)
    seen = 0
    try:
        for i, ids in enumerate(progress_bar(windows, desc="schedule: curvature")):
            outputs.clear()
            positions = positions_of(i, len(ids))
            logs = model.lm_head(last_hidden(model, ids)[positions]).float().log_softmax(-1)
            drawn = torch.multinomial(logs.detach().exp().cpu(), 1, generator=generator).to(
                logs.device
            )
            first = min(SINK_TOKENS, len(ids) // 2)
            scale = (
                (len(ids) - first) / len(positions)
            ) ** 0.5  # as if every position had been drawn
            gradients = torch.autograd.grad(-scale * logs.gather(1, drawn).sum(), outputs)
            for layer, (ffn, gradient) in enumerate(zip(ffns, gradients, strict=True)):
                total[layer] += (
                    (gradient[0, first:].float() @ ffn.w_down.float()).square().sum(0).cpu()
                )
            seen += len(ids) - first
    finally:
        for hook in hooks:
            hook.remove()
        for one in frozen:
            one.requires_grad_(True)
    return (total / seen).float()


def save_curvature(curvature: Tensor, folder: Path) -> None:
    """Write it."""
    save_file({"curvature": curvature}, folder / FILE)


def load_curvature(folder: Path) -> Tensor:
    """Read what `save_curvature` wrote."""
    return load_file(folder / FILE)["curvature"]
