"""Tune the compensators and the predictors of all layers together, against the dense model's next
tokens (our design).
"""

import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ffbench.evaluation.fidelity import last_hidden
from ffbench.methods.plan import LayerPlan, SparsePlan
from ffbench.runs.files import write_json
from ffbench.runs.progress import progress_bar
from ffbench.training.tuning.teacher import load_factors, load_hidden, positions_of
from ffbench.training.tuning.trainable_ffn import trainable
from ffbench.training.tuning.whitening import Whitened

TUNING_VERSION = 3
RATES = {
    "p": 1e-3,
    "v": 7e-4,
    "c": 1e-3,
    "weights": 2e-4,
    "log_prior": 2e-3,
    "map_p": 1e-3,
    "map_u": 1e-3,
    "map_b": 1e-3,
}
ORTHOGONAL = ("p", "v", "map_p", "map_u")
MUON_RMS = 0.2  # of the entries of Muon's update at rate 1, as "match_rms_adamw" has it
WARM_UP = 10
CLIP = 1.0
STATE = "state.safetensors"
SAVE_EVERY = 20


def divergence(head: Any, dense: Tensor, sparse: Tensor) -> Tensor:
    """KL(dense || sparse) in nats, mean over positions; final hidden states [n, d]."""
    with torch.no_grad():
        p = head(dense).float().log_softmax(-1)
    q = head(sparse).float().log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1).mean()


def rate(step: int, steps: int) -> float:
    """Share of the learning rates at a step: a warm-up, then a cosine to zero."""
    return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))


def optimizers_of(layers: list[Whitened]) -> list[torch.optim.Optimizer]:
    """Muon for the low-rank factors, AdamW for the rest; see RATES.

    The learning rate of a tensor is that of its name times the tensor's root mean square at the
    start, so it is the relative change in a step. Log-priors are changed by an absolute rate. Muon
    (Jordan et al. 2024) takes equal steps along all directions of a matrix: alone among the rules
    tried it gains at this noise (docs/accuracy.md).
    """
    groups: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for layer in layers:
        for name, one in layer.leaves.items():
            if not one.numel():
                continue
            size = (
                1.0
                if name == "log_prior"
                else max(one.detach().square().mean().sqrt().item(), 1e-8)
            )
            full = RATES[name] * size / (MUON_RMS if name in ORTHOGONAL else 1.0)
            groups[name in ORTHOGONAL].append({"params": [one], "lr": full, "full_rate": full})
    made: list[torch.optim.Optimizer] = []
    if groups[True]:
        made.append(
            torch.optim.Muon(
                groups[True],
                momentum=0.9,
                nesterov=False,
                weight_decay=0.0,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    if groups[False]:
        made.append(torch.optim.AdamW(groups[False], betas=(0.9, 0.98), weight_decay=0.0))
    return made


class Checkpoint:
    """Leaves, optimizer moments and losses of an unfinished tuning, in a folder."""

    def __init__(self, folder: Path, optimizers: list[torch.optim.Optimizer]) -> None:
        self.path = folder / STATE
        self.entries = [
            (optimizer, one)
            for optimizer in optimizers
            for group in optimizer.param_groups
            for one in group["params"]
        ]

    def save(self, losses: list[float]) -> None:
        """Write the state after len(losses) steps; the file takes its name when it is whole."""
        tensors = {"losses": torch.tensor(losses)}
        for i, (optimizer, one) in enumerate(self.entries):
            tensors[f"{i}.value"] = one.detach()
            tensors |= {f"{i}.state.{name}": value for name, value in optimizer.state[one].items()}
        save_file(tensors, part := self.path.with_suffix(".part"))
        part.replace(self.path)

    def load(self) -> list[float]:
        """Restore the last saved state; its losses, empty where there is none."""
        if not self.path.exists():
            return []
        tensors = load_file(self.path)
        for i, (optimizer, one) in enumerate(self.entries):
            one.data.copy_(tensors[f"{i}.value"])
            start = f"{i}.state."
            optimizer.state[one] = {
                name.removeprefix(start): value
                for name, value in tensors.items()
                if name.startswith(start)
            }
        found: list[float] = tensors["losses"].tolist()
        return found


def tune(
    model: Any, plan: SparsePlan, windows: Tensor, teacher: Path, steps: int, folder: Path
) -> list[LayerPlan]:
    """Every layer's compensator and predictor after `steps` steps on KL(dense || sparse), one
    window [T] of ids a step.

    The backbone is frozen. The predictor changes only where it is the plan's selector
    (`TrainableFFN`). Windows are taken in turn; `teacher` holds what `save_teacher` wrote for them.
    State goes into `folder` now and then, and a later call goes on from it. Writes losses.json.
    Raises ValueError when a window does not hold whole blocks.
    """
    size, length = plan.settings.block_size, windows.shape[1]
    if length % size or length < 2 * size:
        raise ValueError(f"tune: windows of {length} tokens do not hold whole blocks of {size}")
    dense, factors = load_hidden(teacher), load_factors(teacher)
    with trainable(model, plan) as layers:
        whitened = [
            Whitened(layer, factor.to(layer.norms.device))
            for layer, factor in zip(layers, factors, strict=True)
        ]
        optimizers = optimizers_of(whitened)
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        parameters = [one for group in groups for one in group["params"]]
        checkpoint = Checkpoint(folder, optimizers)
        losses = checkpoint.load()
        with progress_bar(total=steps, initial=len(losses), desc="tune") as bar:
            for step in range(len(losses), steps):
                i = step % len(windows)
                for group in groups:
                    group["lr"] = group["full_rate"] * rate(step, steps)
                for one in whitened:
                    one.apply()
                sparse = last_hidden(model, windows[i])[positions_of(i, length)]
                loss = divergence(model.lm_head, dense[i].to(sparse.device), sparse)
                for leaf in parameters:
                    leaf.grad = None
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, CLIP)
                for optimizer in optimizers:
                    optimizer.step()
                losses.append(loss.item())
                bar.set_postfix(kl=f"{sum(losses[-10:]) / len(losses[-10:]):.3f}")
                bar.update()
                if len(losses) % SAVE_EVERY == 0:
                    checkpoint.save(losses)
        for one in whitened:
            one.apply()
        write_json(folder / "losses.json", losses)
        return [layer.result() for layer in layers]
