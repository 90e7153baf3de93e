"""Tune the compensators and the predictors of all layers together, against the dense model's next tokens (our design)."""

import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ffbench.runs.files import write_json
from ffbench.runs.progress import progress_bar
from ffbench.sparsity.plan import LayerPlan, SparsePlan
from ffbench.stages.collect import SINK_TOKENS
from ffbench.stages.fidelity import last_hidden
from ffbench.stages.trainable import TrainableFFN, trainable

RATES = {"p": 1e-3, "v": 7e-4, "c": 1e-3, "weights": 2e-4, "log_prior": 2e-3,
         "map_p": 1e-3, "map_u": 1e-3, "map_b": 1e-3}
WARM_UP = 10
WINDOW = 768
WINDOWS = 128
CLIP = 1.0
POSITIONS = 256
TEACHER = "teacher.safetensors"
STATE = "state.safetensors"
SAVE_EVERY = 20


def window_tokens(block_size: int) -> int:
    """Length of a tuning window: whole blocks, at least two, near WINDOW."""
    return block_size * max(2, round(WINDOW / block_size))


def positions_of(window: int, tokens: int) -> Tensor:
    """Sorted token positions [n] of a window that the loss looks at, drawn by its number from those after the sinks."""
    generator = torch.Generator().manual_seed(window)
    first = min(SINK_TOKENS, tokens // 2)
    return torch.randperm(tokens - first, generator=generator)[:POSITIONS].sort().values + first


@torch.no_grad()
def save_teacher(model: Any, windows: Tensor, folder: Path) -> None:
    """Write the dense final hidden states [windows, positions, d] that every tuning of a model learns from."""
    states = [last_hidden(model, ids).cpu()[positions_of(i, len(ids))]
              for i, ids in enumerate(progress_bar(windows, desc="tune: dense"))]
    save_file({"hidden": torch.stack(states)}, folder / TEACHER)


def divergence(head: Any, dense: Tensor, sparse: Tensor) -> Tensor:
    """KL(dense || sparse) in nats, mean over positions; final hidden states [n, d]."""
    with torch.no_grad():
        p = head(dense).float().log_softmax(-1)
    q = head(sparse).float().log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1).mean()


def rate(step: int, steps: int) -> float:
    """Share of the learning rates at a step: a warm-up, then a cosine to zero."""
    return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))


def optimizer_of(layers: list[TrainableFFN]) -> torch.optim.AdamW:
    """AdamW whose learning rate for a tensor is RATES of its name times the tensor's root mean square at the start.

    Log-priors are changed by an absolute rate.
    """
    groups = []
    for layer in layers:
        for name, one in layer.parameters.items():
            size = 1.0 if name == "log_prior" else max(one.detach().square().mean().sqrt().item(), 1e-8)
            groups.append({"params": [one], "lr": RATES[name] * size, "full_rate": RATES[name] * size})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)


class Checkpoint:
    """Parameters, optimizer moments and losses of an unfinished tuning, in a folder."""

    def __init__(self, folder: Path, optimizer: torch.optim.AdamW, parameters: list[Tensor]) -> None:
        self.path, self.optimizer, self.parameters = folder / STATE, optimizer, parameters

    def save(self, losses: list[float]) -> None:
        """Write the state after len(losses) steps; the file takes its name when it is whole."""
        tensors = {"losses": torch.tensor(losses)}
        for i, one in enumerate(self.parameters):
            tensors[f"{i}.value"] = one.detach()
            tensors |= {f"{i}.{name}": value for name, value in self.optimizer.state[one].items()}
        save_file(tensors, part := self.path.with_suffix(".part"))
        part.replace(self.path)

    def load(self) -> list[float]:
        """Restore the last saved state; its losses, empty where there is none."""
        if not self.path.exists():
            return []
        tensors = load_file(self.path)
        for i, one in enumerate(self.parameters):
            one.data.copy_(tensors[f"{i}.value"])
            self.optimizer.state[one] = {name: tensors[f"{i}.{name}"] for name in ("step", "exp_avg", "exp_avg_sq")}
        found: list[float] = tensors["losses"].tolist()
        return found


def tune(model: Any, plan: SparsePlan, windows: Tensor, teacher: Path, steps: int,
         folder: Path) -> list[LayerPlan]:
    """Every layer's compensator and predictor after `steps` steps on KL(dense || sparse), one window [T] of ids a step.

    The backbone is frozen. The predictor changes only where it is the plan's selector (`TrainableFFN`). Windows are
    taken in turn; `teacher` holds what `save_teacher` wrote for them. State goes into `folder` now and then, and a
    later call goes on from it. Writes losses.json. Raises ValueError when a window does not hold whole blocks.
    """
    size, length = plan.settings.block_size, windows.shape[1]
    if length % size or length < 2 * size:
        raise ValueError(f"tune: windows of {length} tokens do not hold whole blocks of {size}")
    dense = load_file(teacher / TEACHER)["hidden"]
    with trainable(model, plan) as layers:
        optimizer = optimizer_of(layers)
        parameters = [one for group in optimizer.param_groups for one in group["params"]]
        checkpoint = Checkpoint(folder, optimizer, parameters)
        losses = checkpoint.load()
        with progress_bar(total=steps, initial=len(losses), desc="tune") as bar:
            for step in range(len(losses), steps):
                i = step % len(windows)
                for group in optimizer.param_groups:
                    group["lr"] = group["full_rate"] * rate(step, steps)
                sparse = last_hidden(model, windows[i])[positions_of(i, length)]
                loss = divergence(model.lm_head, dense[i].to(sparse.device), sparse)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, CLIP)
                optimizer.step()
                losses.append(loss.item())
                bar.set_postfix(kl=f"{sum(losses[-10:]) / len(losses[-10:]):.3f}")
                bar.update()
                if len(losses) % SAVE_EVERY == 0:
                    checkpoint.save(losses)
        write_json(folder / "losses.json", losses)
        return [layer.result() for layer in layers]
