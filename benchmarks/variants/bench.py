"""The model, plan and text that variants are trained and judged on."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from ffbench.experiment.calibration import calibration_windows, heldout_windows
from ffbench.experiment.session import Session
from ffbench.methods.selectors import SELECTORS, SelectorInputs
from ffbench.runs.identity import content_key
from ffbench.settings import RunSettings
from ffbench.training.layer_walk import LayerData, walk_layers
from variants.data import Examples, examples
from variants.metrics import HeldOutBlocks

RATE = 2e-4  # at 2e-3 several variants were best before their first step
Material = dict[int, tuple[tuple[Examples, Examples], HeldOutBlocks, dict[str, Tensor]]]


class Bench:
    """The model with its plan, and the text to learn from and to judge on."""

    def __init__(self, settings: RunSettings, steps: int, every: int) -> None:
        self.settings, self.steps, self.every = settings, steps, every
        self.session = Session(settings)
        self.plan = self.session.trained_plan()
        self.block_size, self.kept = settings.block_size, self.plan.layers[0].kept
        c = settings.calibration
        per_text = calibration_windows(
            self.session.tokenizer, max(c.tokens // 2, c.window), c.window
        )
        self.windows = torch.cat(list(per_text.values()))[::every]

    def fixed(self) -> dict[str, Any]:
        """What every line has."""
        return {
            "model": self.settings.model.name,
            "sparsity": self.settings.sparsity,
            "block_size": self.block_size,
            "rank": self.plan.layers[0].compensation.feature_width,
            "steps": self.steps,
            "windows_learned": len(self.windows),
            "rate": RATE,
        }

    def key(self, what: dict[str, Any]) -> str:
        """Names a line: the plan, the dense windows, the training and `what`."""
        dense = self.session.stages.dense_tails
        return content_key(
            {
                "plan": self.session.stages.plan.key,
                "dense_tails": dense.key if dense else None,
                "steps": self.steps,
                "every": self.every,
                "rate": RATE,
            }
            | what
        )

    def learned(self, data: LayerData) -> tuple[Examples, Examples]:
        """Examples to learn from, and those that decide when to stop: every fourth window."""
        every = examples(data, self.plan.layers[data.ffn.layer].compensation)
        checking = torch.arange(len(every.x)) % 4 == 3

        def part(rows: Tensor) -> Examples:
            worth = {name: values[rows] for name, values in every.worth.items()}
            return Examples(every.x[rows], worth)

        return part(~checking), part(checking)

    def held_out(self, data: LayerData) -> HeldOutBlocks:
        """Whole held-out blocks of a layer."""
        layer, w_down = self.plan.layers[data.ffn.layer], data.ffn.w_down.float()
        xs, residuals, energies = [], [], []
        size = self.block_size
        for x, a in data:
            whole = len(x) // size * size
            x, a = x[:whole].float(), a[:whole].float()
            xs.append(x.view(-1, size, x.shape[1]))
            residuals.append((a - layer.compensation.estimate(x)).view(-1, size, a.shape[1]))
            energies.append((a @ w_down.T).square().sum(1).view(-1, size).sum(1))
        residual = torch.cat(residuals)
        worth = (residual * w_down.norm(dim=0)).square().mean(1)
        return HeldOutBlocks(torch.cat(xs), residual, worth, torch.cat(energies), w_down, self.kept)

    def references(self, data: LayerData, blocks: HeldOutBlocks) -> dict[str, Tensor]:
        """Scores [n, f] of the rules that the variants are compared with."""
        layer, act = self.plan.layers[data.ffn.layer], data.ffn.act
        norms = blocks.w_down.norm(dim=0)
        inputs = SelectorInputs(layer, blocks.x[0], blocks.x, data.activations, act, norms, 0)
        toward = (blocks.residual @ blocks.w_down.T) @ blocks.w_down
        rules = {"static": "static", "closed_form": "trained", "probe": "probe"}
        scores = {name: SELECTORS.make({"name": rule}) for name, rule in rules.items()}
        return {name: rule.scores(inputs) for name, rule in scores.items()} | {
            "oracle": blocks.worth,
            "oracle_output": (2 * blocks.residual * toward).mean(1) - blocks.worth,
        }


@torch.no_grad()
def material_of(bench: Bench, layers: Sequence[int], windows: int) -> Material:
    """Examples, held-out blocks and reference scores of some layers."""
    model, last = bench.session.model, max(layers) + 1
    learned = {
        data.ffn.layer: bench.learned(data)
        for data in islice(walk_layers(model, bench.windows, "calibration"), last)
        if data.ffn.layer in layers
    }
    length = bench.settings.calibration.window
    texts = heldout_windows(bench.session.tokenizer, windows * length, length)
    material: Material = {}
    for data in islice(walk_layers(model, torch.cat(list(texts.values())), "held out"), last):
        if data.ffn.layer in layers:
            blocks = bench.held_out(data)
            material[data.ffn.layer] = (
                learned[data.ffn.layer],
                blocks,
                bench.references(data, blocks),
            )
    return material
