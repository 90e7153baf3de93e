"""Tune the compensators and the predictors of all layers together, against the dense model's
answers (our design).
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.plan import LayerPlan, SparsePlan
from ffbench.models.forward import divergence, last_hidden
from ffbench.runs.files import write_json
from ffbench.runs.progress import progress_bar
from ffbench.runs.tensor_files import load_tensors, save_tensors
from ffbench.training.tails import TailWindow
from ffbench.training.tuning.teacher import load_factors, load_hidden
from ffbench.training.tuning.trainable_ffn import trainable
from ffbench.training.tuning.whitening import Whitened

# relative change per step at the start; chosen on the tuning part (docs/experiments)
RATES = {
    "projection": 1e-3,
    "activation_map": 7e-4,
    "mean": 1e-3,
    "predictor_weights": 2e-4,
    "log_prior": 2e-3,
    "output_map.projection": 1e-3,
    "output_map.expansion": 1e-3,
    "output_map.bias": 1e-3,
}
ORTHOGONAL = ("projection", "activation_map", "output_map.projection", "output_map.expansion")
MUON_RMS = 0.2  # of the entries of Muon's update at rate 1, as "match_rms_adamw" has it
WARM_UP = 10  # steps
CLIP = 1.0  # of the norm of all gradients
STATE = "state.safetensors"
SAVE_EVERY = 20  # steps; at most about a minute of work is repeated after a kill


def rate(step: int, steps: int) -> float:
    """Share of the learning rates at a step: a warm-up, then a cosine to zero."""
    return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))


def optimizers_of(layers: list[Whitened]) -> list[torch.optim.Optimizer]:
    """Muon for the low-rank factors, AdamW for the rest; see RATES.

    The learning rate of a tensor is that of its name times the tensor's root mean square at the
    start, so it is the relative change in a step. Log-priors are changed by an absolute rate. Muon
    (Jordan et al. 2024) takes equal steps along all directions of a matrix: alone among the rules
    tried it gains at this noise (docs/experiments/tuning.md).
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
        save_tensors(tensors, part := self.path.with_suffix(".part"))
        part.replace(self.path)

    def load(self) -> list[float]:
        """Restore the last saved state; its losses, empty if there is none."""
        if not self.path.exists():
            return []
        tensors = load_tensors(self.path)
        for i, (optimizer, one) in enumerate(self.entries):
            one.data.copy_(tensors[f"{i}.value"])
            start = f"{i}.state."
            optimizer.state[one] = {
                # the count of steps, a scalar, is on the CPU in every optimizer
                name.removeprefix(start): value.to(one.device) if value.dim() else value
                for name, value in tensors.items()
                if name.startswith(start)
            }
        found: list[float] = tensors["losses"].tolist()
        return found


def forget_state(folder: Path) -> None:
    """Remove the state of a tuning whose result is kept; it takes three times what was tuned."""
    (folder / STATE).unlink(missing_ok=True)


def window_loss(
    model: Any,
    window: TailWindow,
    dense: Mapping[str, Tensor],
    weights: Mapping[str, float],
) -> Tensor:
    """The weighted mean of KL(dense || sparse) in nats over the objective's names; `dense` has the
    dense model's hidden states at the window's positions by name.
    """
    hidden, total = last_hidden(model, window.ids), sum(weights.values())
    loss = hidden.new_zeros((), dtype=torch.float32)
    for name, weight in weights.items():
        sparse = hidden[window.positions[name]]
        loss = loss + weight / total * divergence(model, dense[name].to(sparse.device), sparse)
    return loss


def tune(
    model: Any,
    plan: SparsePlan,
    windows: Sequence[TailWindow],
    weights: dict[str, float],
    teacher: Path,
    steps: int,
    folder: Path,
) -> list[LayerPlan]:
    """Every layer's compensator and predictor after `steps` steps, one window per step.

    The loss is `window_loss`, at positions that read the window's sparse context. The backbone is
    frozen; the predictor changes only if it is the plan's selector. Windows are taken in turn;
    `teacher` holds what `save_teacher` wrote for them. State goes into `folder` now and then, and a
    later call resumes from it, until `forget_state`. Writes losses.json. Raises ValueError if a
    context does not hold whole blocks.
    """
    size = plan.settings.block_size
    if any((window.end - window.first) % size for window in windows):
        raise ValueError(f"tune: a window's context does not hold whole blocks of {size}")
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
                for layer in whitened:
                    layer.apply()
                    layer.layer.end = windows[i].end
                targets = {name: dense[f"{i}.{name}"] for name in weights}
                loss = window_loss(model, windows[i], targets, weights)
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
        for layer in whitened:
            layer.apply()
        write_json(folder / "losses.json", losses)
        return [layer.result() for layer in layers]
