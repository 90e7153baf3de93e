"""What a plan is built from: text, the stages on the way, and how much text each of them reads."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from ffbench.runs.stage import Stage

MIXING_WINDOWS = 4  # scores of layers are steady after a few windows
MAP_WINDOWS = 16  # of the calibration windows: a map has few parameters
SENSITIVITY_WINDOWS = 6  # each costs half a forward pass per layer
TUNING_WINDOWS = 128


class Cache(Protocol):
    """Gives the folder of a stage, made by `make` if it is missing."""

    def __call__(self, stage: Stage, make: Callable[[Path], None]) -> Path:
        """The finished folder."""


@dataclass(frozen=True)
class TrainingText:
    """Calibration windows [n, T] of token ids, and a function that gives `count` windows of a
    length, texts in turn, from the part that schedules and tuning learn from.
    """

    calibration: Tensor
    windows: Callable[[int, int], Tensor]


@dataclass(frozen=True)
class PlanStages:
    """The stages that lead to a plan; None for those that its settings do not need."""

    fit: Stage
    refit: Stage | None
    neuron_order: Stage | None
    token_mixing: Stage | None
    sensitivity: Stage | None
    curvature: Stage | None
    output_map: Stage | None
    teacher: Stage | None
    tune: Stage | None
    plan: Stage
    by_answer: bool = False  # errors count by what they do to the answer
