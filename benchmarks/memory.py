"""Peak memory of making a plan, at true shapes and without a card: fake tensors have no data.

python benchmarks/memory.py [--shape llama3.1-8b ...] [--selector trained_lowrank trained] [--json]

Every tensor that a stage makes is counted while it lives, with a model in bfloat16. A stage runs
with two and with four layers; the peak of all layers follows, because each layer adds the same. Not
counted: the workspaces of matrix products, and what the allocator keeps.
"""

import argparse
import json
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from ffbench.cli.errors import guarded
from ffbench.methods.chosen import make_selector
from ffbench.methods.compensators import COMPENSATORS
from ffbench.methods.plan import PlanSettings, SparsePlan
from ffbench.methods.schedulers import SCHEDULERS
from ffbench.models import random_models, shapes
from ffbench.models.adapters import gated_ffns
from ffbench.training import curvature, layer_fit, layer_walk, output_map, tails
from ffbench.training.tuning import trainable_ffn, tune

GB = 1e9
LAYERS = (2, 4)
WINDOW, WINDOWS = 2048, 16  # of calibration text: the default 32,768 tokens
OBJECTIVE = {"continuation": 0.5, "copy": 0.5}


class LiveBytes(TorchDispatchMode):
    """Bytes of the storages that are alive, and the most that there were."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.seen: set[int] = set()

    def watch(self, tensor: Tensor) -> None:
        """Count a tensor's storage until it is gone."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.seen:
            return
        self.seen.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self.gone, key, size)

    def gone(self, key: int, size: int) -> None:
        """A storage was freed."""
        self.seen.discard(key)
        self.now -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count what it made."""
        result = func(*args, **(kwargs or {}))
        for value in tree_flatten(result)[0]:
            if isinstance(value, Tensor):
                self.watch(value)
        return result


@dataclass
class World:
    """A model of a shape on fake tensors with a plan of random numbers, and what lives."""

    live: LiveBytes
    model: Any
    plan: SparsePlan
    folder: Path
    resident: int = field(init=False)

    def __post_init__(self) -> None:
        self.resident = self.live.now

    def windows(self, count: int, length: int) -> Tensor:
        """Ids of text."""
        return torch.zeros(count, length, dtype=torch.long)


def settings_of(selector: str) -> PlanSettings:
    """The default plan with an output map and tuning."""
    refined = {"name": "surrogate", "output_map_rank": 104, "tune_steps": 1}
    return PlanSettings(
        selector=make_selector({"name": selector}),
        compensator=COMPENSATORS.make(refined),
        scheduler=SCHEDULERS.make({"name": "uniform"}),
        block_size=128,
        sparsity=0.5,
    )


@contextmanager
def fake_world(shape: str, layers: int, selector: str) -> Iterator[World]:
    """A world with so many layers; the down weights are stored as on a card, by neuron."""
    known = replace(shapes.SHAPES[shape], measured_layers=layers)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(shapes.SHAPES, {shape: known}))
        folder = Path(stack.enter_context(TemporaryDirectory()))
        stack.enter_context(FakeTensorMode())
        live = stack.enter_context(LiveBytes())
        model = random_models.build_shape(shape, "bfloat16")
        for ffn in gated_ffns(model):
            ffn.w_down.data = ffn.w_down.data.T.contiguous().T
        for one in (*model.parameters(), *model.buffers()):
            live.watch(one)
        plan = random_models.random_plan(model, settings_of(selector))
        # fake tensors have no values; the rates of tuning need some
        stack.enter_context(mock.patch.object(Tensor, "item", lambda self: 1.0))
        yield World(live, model, plan, folder)


def fit(world: World) -> None:
    """Closed forms of the first layer; each layer's results go to the disk."""
    text = world.windows(WINDOWS, WINDOW)
    walk = layer_walk.walk_layers(world.model, text)
    layer_fit.fit_layer(next(walk), world.plan.settings.compensator)


def measure_curvature(world: World) -> None:
    """Gradients of the answers at every FFN's output."""
    text = world.windows(1, tails.window_length())
    windows = tails.tail_windows(text, world.plan.settings.first_dense)
    curvature.neuron_curvature(world.model, windows, list(OBJECTIVE), recompute=True)


def map_output(world: World) -> None:
    """Maps of the output, on the sparse model's inputs."""
    layers = [
        replace(layer, compensation=layer.compensation.with_output_map(None))
        for layer in world.plan.layers
    ]
    plan = replace(world.plan, layers=layers)
    output_map.fit_output_maps(world.model, plan, world.windows(WINDOWS, WINDOW), 104)


def tune_plan(world: World, recompute: bool = True) -> None:
    """Two steps of tuning, the second with the optimizers' moments."""
    d, settings = world.model.config.hidden_size, world.plan.settings
    windows = tails.block_tail_windows(world.windows(2, tails.window_length()), settings)
    hidden = {
        f"{i}.{name}": torch.zeros(len(window.positions[name]), d, dtype=world.model.dtype)
        for i, window in enumerate(windows)
        for name in OBJECTIVE
    }
    factors = [torch.zeros(d, d) for _ in world.plan.layers]
    forms, patch = trainable_ffn.trainable, mock.patch.object
    with (
        patch(tune, "load_hidden", lambda folder: hidden),
        patch(tune, "load_factors", lambda folder: factors),
        patch(tune, "trainable", lambda model, plan: forms(model, plan, recompute)),
    ):
        tune.tune(world.model, world.plan, windows, OBJECTIVE, world.folder, 2, world.folder)


Stage = Callable[[World], None]
STAGES: dict[str, Stage] = {
    "fit": fit,
    "curvature": measure_curvature,
    "output map": map_output,
    "tune": tune_plan,
}


def peaks(
    shape: str, layers: int, selector: str, stages: Mapping[str, Stage] = STAGES
) -> dict[str, int]:
    """Peak bytes of each stage with so many layers, and of the plan's file."""
    found = {}
    for name, stage in stages.items():
        with fake_world(shape, layers, selector) as world:
            world.live.peak = world.live.now
            stage(world)
            found[name] = world.live.peak
            tensors = [value for layer in world.plan.layers for value in layer.tensors().values()]
            found["plan file"] = sum(value.numel() * value.element_size() for value in tensors)
    return found


def extrapolated(
    shape: str, selector: str, layers: int, stages: Mapping[str, Stage] = STAGES
) -> dict[str, float]:
    """Peak bytes of each stage with `layers` layers of a shape."""
    low, high = (peaks(shape, few, selector, stages) for few in LAYERS)
    more = layers - LAYERS[0]
    step = LAYERS[1] - LAYERS[0]
    return {name: low[name] + more * (high[name] - low[name]) / step for name in low}


def main(argv: list[str] | None = None) -> int:
    """Print a table, or a JSON object per line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--shape", nargs="+", choices=sorted(shapes.SHAPES), default=["llama3.1-8b"]
    )
    parser.add_argument("--selector", nargs="+", default=["trained", "trained_lowrank"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    if not options.json:
        print("GB\n| shape | selector | " + " | ".join([*STAGES, "plan file"]) + " |")
    for shape in options.shape:
        for selector in options.selector:
            found = extrapolated(shape, selector, shapes.SHAPES[shape].layers)
            values = [found[name] for name in [*STAGES, "plan file"]]
            if options.json:
                line = {"shape": shape, "selector": selector, "bytes": found}
                print(json.dumps(line), flush=True)
            else:
                cells = " | ".join(f"{value / GB:.1f}" for value in values)
                print(f"| {shape} | {selector} | {cells} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
