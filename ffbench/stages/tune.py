"""Tune the compensators of all layers together against the dense model's next-token distributions (our design)."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import linear
from tqdm import tqdm

from ffbench.models.adapters import GatedFFN, gated_ffns
from ffbench.runs.files import write_json
from ffbench.sparsity.groups import kept_neurons
from ffbench.sparsity.plan import LayerPlan, SparsePlan
from ffbench.sparsity.selectors import SELECTORS, Scene
from ffbench.sparsity.surrogate import Surrogate
from ffbench.stages.collect import SINK_TOKENS
from ffbench.stages.fidelity import last_hidden

LEARNING_RATE = 2e-4
WARM_UP = 5
WINDOW = 768
WINDOWS = 128
CLIP = 1.0
POSITIONS = 192
TEACHER = "teacher.safetensors"
STATE = "state.safetensors"
SAVE_EVERY = 20


class TrainableFFN:
    """One layer's FFN with a trainable estimate; only the kept neurons of a block are computed."""

    def __init__(self, ffn: GatedFFN, layer: LayerPlan, plan: SparsePlan) -> None:
        self.ffn, self.plan, s = ffn, plan, layer.surrogate
        self.parameters = [one.float().clone(memory_format=torch.contiguous_format).requires_grad_()
                           for one in (s.p, s.v, s.c)]
        # Shares memory with the parameters: a selector that looks at the estimate sees the tuned one.
        self.layer = replace(layer, surrogate=Surrogate(*(one.detach() for one in self.parameters)))
        self.w_down_t = ffn.w_down.T.contiguous()
        self.norms = self.w_down_t.float().norm(dim=1)

    def activations(self, x: Tensor) -> Tensor:
        """Exact activations [T, f] of x [T, d]."""
        module: Any = self.ffn.module
        return module.act_fn(module.gate_proj(x)) * module.up_proj(x)

    @torch.no_grad()
    def kept(self, before: Tensor, blocks: Tensor) -> Tensor:
        """Kept neurons [n, K] of blocks [n, B, d]."""
        settings, module = self.plan.settings, self.ffn.module
        scene = Scene(self.layer, before, blocks, self.activations, module.act_fn,  # type: ignore[arg-type]
                      self.norms, settings.seed * 1009 + self.ffn.layer)
        return kept_neurons(SELECTORS[settings.selector](scene).float(), self.layer, settings.group_size)

    def forward(self, x: Tensor) -> Tensor:
        """The module's forward for a window x [1, T, d] of whole blocks: the first one dense, the others sparse."""
        size = self.plan.settings.block_size
        module: Any = self.ffn.module
        rows = x[0]
        p, v, c = self.parameters
        blocks = rows[size:].view(-1, size, rows.shape[1])
        z = blocks @ p.T
        share = torch.addmm(self.w_down_t.T @ c, z.flatten(0, 1), (self.w_down_t.T @ v).T).view_as(blocks)
        out = [type(module).forward(module, rows[:size])]
        for block, one, rest, index in zip(blocks, z, share, self.kept(rows[:size].detach(), blocks.detach()),
                                           strict=True):
            gate, up = linear(block, self.ffn.w_gate[index]), linear(block, self.ffn.w_up[index])
            estimate = torch.addmm(c[index], one, v[index].T)
            out.append(torch.addmm(rest, module.act_fn(gate) * up - estimate, self.w_down_t[index]))
        return torch.cat(out).unsqueeze(0)


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
              for i, ids in enumerate(tqdm(windows, desc="tune: dense"))]
    save_file({"hidden": torch.stack(states)}, folder / TEACHER)


def divergence(head: Any, dense: Tensor, sparse: Tensor) -> Tensor:
    """KL(dense || sparse) in nats, mean over positions; final hidden states [n, d]."""
    with torch.no_grad():
        p = head(dense).float().log_softmax(-1)
    q = head(sparse).float().log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1).mean()


@contextmanager
def trainable(model: Any, plan: SparsePlan) -> Iterator[list[TrainableFFN]]:
    """The model with trainable sparse FFNs and frozen weights; as before afterwards."""
    ffns = gated_ffns(model)
    layers = [TrainableFFN(ffn, layer, plan) for ffn, layer in zip(ffns, plan.layers, strict=True)]
    frozen = [one for one in model.parameters() if one.requires_grad]
    for one in frozen:
        one.requires_grad_(False)
    try:
        for ffn, layer in zip(ffns, layers, strict=True):
            ffn.module.forward = layer.forward  # type: ignore[method-assign]
        yield layers
    finally:
        for ffn in ffns:
            ffn.module.__dict__.pop("forward", None)
        for one in frozen:
            one.requires_grad_(True)


def learning_rate(step: int, steps: int) -> float:
    """Warm-up, then a cosine to zero."""
    return LEARNING_RATE * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))


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


def tune(model: Any, plan: SparsePlan, windows: Tensor, teacher: Path, steps: int, folder: Path) -> list[Surrogate]:
    """Every layer's P, V and c after `steps` steps of AdamW on KL(dense || sparse), one window [T] of ids a step.

    The backbone is frozen and the selector is the plan's own. Windows are taken in turn; `teacher` holds what
    `save_teacher` wrote for them. State goes into `folder` now and then, and a later call goes on from it.
    Writes losses.json, and raises ValueError when a window does not hold whole blocks.
    """
    size, length = plan.settings.block_size, windows.shape[1]
    if length % size or length < 2 * size:
        raise ValueError(f"tune: windows of {length} tokens do not hold whole blocks of {size}")
    dense = load_file(teacher / TEACHER)["hidden"]
    with trainable(model, plan) as layers:
        parameters = [one for layer in layers for one in layer.parameters]
        optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0)
        checkpoint = Checkpoint(folder, optimizer, parameters)
        losses = checkpoint.load()
        with tqdm(total=steps, initial=len(losses), desc="tune") as bar:
            for step in range(len(losses), steps):
                i = step % len(windows)
                optimizer.param_groups[0]["lr"] = learning_rate(step, steps)
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
        return [layer.layer.surrogate for layer in layers]
