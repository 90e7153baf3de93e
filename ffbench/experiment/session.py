"""A model with the stages that runs share."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from ffbench.data.user_text import StampedFiles
from ffbench.experiment import identity
from ffbench.experiment.lengths import used_lengths
from ffbench.experiment.mixtures import mixture_problems
from ffbench.experiment.plan_cards import made_card
from ffbench.experiment.stages import RunStages
from ffbench.methods.plan import SparsePlan
from ffbench.models.errors import ModelError
from ffbench.models.loading import ModelSpec, load_model
from ffbench.runs.cache import StageCache
from ffbench.runs.machine import Machine
from ffbench.runs.stage import Stage
from ffbench.settings import RunSettings
from ffkernels.host_memory import keep_freed_memory


def loaded(spec: ModelSpec) -> tuple[Any, Any]:
    """Model and tokenizer, checked, and kept for the next run of a sweep; read anew if a file of
    theirs has changed.
    """
    return loaded_once(spec, identity.stamped_files(spec))


@lru_cache(maxsize=1)
def loaded_once(spec: ModelSpec, files: StampedFiles) -> tuple[Any, Any]:
    """`loaded`, by the model's files with their times of change (ns). The process keeps the memory
    that it frees from now on.
    """
    from ffbench.models.fast_products import use_fast_products
    from ffbench.models.forward import check_logits

    keep_freed_memory()
    model, tokenizer = load_model(spec)
    use_fast_products(model)
    check_logits(model)
    return model, tokenizer


class Session:
    """A model with the shared stages.

    `cost` holds seconds, for a cached stage those of the run that made it.
    """

    def __init__(self, settings: RunSettings, machine: Machine | None = None) -> None:
        self.settings, self.machine = settings, machine
        self.stages = RunStages(settings)
        self.cache = StageCache(settings.output_dir)
        self.cost: dict[str, float | None] = {}
        self.folders: dict[str, Path] = {}
        self._making = 0
        with self.timed("load"):
            self.model, self.tokenizer = loaded(identity.model_spec(settings))
        self.check_settings()

    def check_settings(self) -> None:
        """Raise ModelError if the settings use longer texts than the model has positions, or what a
        mixture of experts cannot have: before the model was loaded, it may have been unknown.
        """
        from ffbench.models.config_checks import position_problems

        config = self.model.config.to_dict()
        problems = position_problems(config, used_lengths(self.settings))
        if problems := problems + mixture_problems(self.settings, config):
            raise ModelError("; ".join(problems))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note the seconds of what happens inside."""
        start = time.perf_counter()
        yield
        self.cost[stage] = time.perf_counter() - start

    def cached(self, stage: Stage, make: Callable[[Path], None]) -> Path:
        """The folder of a shared stage, made if it is missing."""
        self.yield_to_measurements()
        self._making += 1
        try:
            folder = self.cache.get_or_make(stage.name, stage.key, make, resumable=stage.resumable)
        finally:
            self._making -= 1
        self.cost[stage.name] = self.cache.seconds(stage.name, stage.key)
        self.folders[stage.name] = folder
        return folder

    def yield_to_measurements(self) -> None:
        """Between two stages: let a measurement of another job on this machine go first."""
        # inside a stage another job may wait for that stage, and could not pause
        if self.machine and not self._making:
            self.machine.halt()

    def trained_plan(self) -> SparsePlan:
        """The plan of the settings, from the stages that are there or are made."""
        from ffbench.experiment.calibration import training_text
        from ffbench.training.plan_builder import PlanBuilder

        s = self.settings
        plan = PlanBuilder(
            model=self.model,
            settings=self.stages.plan_settings,
            objective=s.objective,
            text=training_text(s, self.tokenizer),
            stages=self.stages.plan_stages,
            cache=self.cached,
            fingerprint=identity.fingerprint(s),
        ).plan()
        plan.card = made_card(s, str(self.model.dtype).removeprefix("torch."))
        return plan


def trained_plan(settings: RunSettings) -> SparsePlan:
    """The plan of `settings` by itself; its stages are shared with the runs of the output
    folder.
    """
    return Session(settings).trained_plan()
