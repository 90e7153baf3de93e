"""Measure a plan's speed now: in fresh processes, on real text, with the machine's state noted."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from ffbench.evaluation.machine_state import machine_state
from ffbench.evaluation.speed_processes import (
    measured_at_shape,
    measured_in_processes,
    speed_metrics,
)
from ffbench.experiment import identity
from ffbench.experiment.calibration import heldout_windows
from ffbench.methods.plan import PlanSettings
from ffbench.models.kernel_names import kernel_name
from ffbench.models.weight_copy import quick_to_load
from ffbench.runs.cache import StageCache
from ffbench.runs.files import read_json, write_json
from ffbench.runs.machine import Machine
from ffbench.runs.provenance import cpu_name
from ffbench.runs.stage import Stage
from ffbench.settings import RunSettings

TEXT_TOKENS, WINDOW = 4096, 512  # per text; longer prompts repeat them
# Layers of a wide shape that are timed: they cost alike, so a few give the ratio of the whole.
WIDE_LAYERS = 4


def measured_once(
    cache: StageCache,
    machine: Machine | None,
    stage: Stage,
    measure: Callable[[], dict[str, Any]],
) -> dict[str, Any]:
    """What `measure` gives with the machine to itself, kept as the stage's file.

    The machine is taken before the stage's lock. The other way round, a job that waits for the lock
    would count as working, and whoever holds the lock would wait for that job.
    """

    def make(folder: Path) -> None:
        write_json(folder / f"{stage.name}.json", measure())

    if not cache.has(stage.name, stage.key):
        with machine.alone() if machine else nullcontext():
            cache.get_or_make(stage.name, stage.key, make)
    kept: dict[str, Any] = read_json(cache.path(stage.name, stage.key) / f"{stage.name}.json")
    return kept


def prompt_text(tokenizer: Any, tokens: int) -> torch.Tensor:
    """Ids [tokens] of held-out text, which is repeated if it is shorter."""
    windows = heldout_windows(tokenizer, TEXT_TOKENS, WINDOW)
    ids = torch.cat([batch.flatten() for batch in windows.values()])
    return ids.repeat(-(-tokens // len(ids)))[:tokens]


@contextmanager
def off_the_card(model: Any) -> Iterator[None]:
    """The model waits in the host's memory inside: measuring processes load it to the same card.

    A model that is spread over several devices stays where it is.
    """
    device = model.device
    if device.type != "cuda" or len({one.device for one in model.parameters()}) > 1:
        yield
        return
    model.to("cpu")
    torch.cuda.empty_cache()
    try:
        yield
    finally:
        model.to(device)


def measured_speed(
    settings: RunSettings, model: Any, tokenizer: Any, plan: Path, threads: int
) -> dict[str, Any]:
    """The speed fields of a result for a saved plan. Raises SpeedError if a process fails."""
    s, before = settings.speed, os.getloadavg()[0]
    with (
        quick_to_load(identity.model_spec(settings), model, tokenizer) as spec,
        off_the_card(model),
    ):
        runs = measured_in_processes(
            spec,
            plan,
            lengths=s.lengths,
            rounds=s.rounds,
            threads=threads,
            backend=settings.kernel.backend,
            processes=s.processes,
            ids=prompt_text(tokenizer, max(s.lengths)),
        )
    state = machine_state(before, threads)
    weight = model.get_input_embeddings().weight
    return speed_metrics(runs) | {
        "threads": threads,
        "cpu": cpu_name(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "backend": kernel_name(settings.kernel.backend, weight),
        **state,
    }


def measured_wide_speed(
    settings: RunSettings, plan: PlanSettings, model: Any, threads: int
) -> dict[str, Any]:
    """The field `wide` of a result's speed: the run's methods at the shape `speed.wide_shape`, with
    random weights in the dtype and on the device of `model`. Raises SpeedError if that fails.
    """
    s, shape = settings.speed, settings.speed.wide_shape
    if shape is None:
        raise ValueError("speed.wide_shape: none is set")
    times = measured_at_shape(
        shape,
        plan,
        layers=WIDE_LAYERS,
        dtype=str(model.dtype).removeprefix("torch."),
        device=str(model.device),
        lengths=s.lengths,
        rounds=s.rounds,
        threads=threads,
        backend=settings.kernel.backend,
    )
    return {"shape": shape, "layers": WIDE_LAYERS} | speed_metrics([times])
