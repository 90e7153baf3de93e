"""A plan builder on random text with a cache in a folder."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tiny_plans import RANKED, node
from tiny_text import windows
from torch import Tensor

from ffbench.experiment.stages import RunStages
from ffbench.methods.objective import Objective
from ffbench.methods.plan import SparsePlan
from ffbench.runs.stage import Stage
from ffbench.settings import ModelSettings, RunSettings, TrackerSettings
from ffbench.training.plan_builder import PlanBuilder
from ffbench.training.plan_stages import TrainingText


def run_settings(**changes: Any) -> RunSettings:
    """Settings of a tiny run with methods by name or as nodes; ranks of 8."""
    values: dict[str, Any] = {
        "selector": "trained",
        "compensator": "surrogate",
        "scheduler": "uniform",
        "block_size": 16,
        "first_dense": 16,
        "last_dense": 16,
    } | changes
    compensator = node(values["compensator"])
    if compensator["name"] in RANKED:
        compensator = {"rank": 8} | compensator
    values |= {
        "selector": node(values["selector"]),
        "compensator": compensator,
        "scheduler": node(values["scheduler"]),
    }
    model = ModelSettings("tiny", source="tiny", location="llama")
    return RunSettings(**{"model": model, "tracker": TrackerSettings(kind="none")} | values)


def random_windows(count: int = 3, length: int = 300) -> Tensor:
    """Ids [count, length]."""
    return windows(count, length)


class FolderCache:
    """Keeps each stage in a folder by its key; `made` lists the stages that were made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[str] = []

    def __call__(self, stage: Stage, make: Callable[[Path], None]) -> Path:
        """The stage's folder."""
        path = self.folder / stage.name / stage.key
        if not path.exists():
            path.mkdir(parents=True)
            make(path)
            self.made.append(stage.name)
        return path


def built_plan(model: Any, cache: FolderCache, **changes: Any) -> SparsePlan:
    """The plan of `run_settings(**changes)` on random text."""
    settings = run_settings(**changes)
    stages = RunStages(settings)
    return PlanBuilder(
        model=model,
        settings=stages.plan_settings,
        objective=Objective(**asdict(settings.objective)),
        text=TrainingText(random_windows(), lambda count, length: random_windows(4, 120)),
        stages=stages.plan_stages,
        cache=cache,
        fingerprint={"model": "x"},
    ).plan()
