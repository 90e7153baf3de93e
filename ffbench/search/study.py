"""Trials of a search: Optuna proposes them, and is told what the run folders hold.

Nothing of Optuna is kept on disk. A search that starts again proposes the same trials, since its
seed is fixed, and is told the results that are there already.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from ffbench.runs.files import read_json, write_json
from ffbench.runs.run_folder import RunFolder
from ffbench.search.objectives import Measured, Objective
from ffbench.search.space import Space
from ffbench.tracking.early_terminate import LIVE_METRIC, EarlyTerminate
from ffbench.tracking.watched import EndedEarly

SAMPLERS = ("tpe", "nsga2")
REPORTED = "reported.json"  # in the run folder: what a search saw while the run was measured


@dataclass(frozen=True)
class SearchSettings:
    """How trials are proposed.

    sampler: tpe (tree-structured Parzen estimators, Bergstra et al. 2011; for several objectives
    Ozaki et al. 2020) or nsga2 (Deb et al. 2002). seed: the same one proposes the same trials.
    population: trials of a generation of nsga2, and random trials before tpe learns.
    """

    sampler: str = "tpe"
    seed: int = 0
    population: int = 10


class Search:
    """Asks Optuna for trials and tells it their results, in the order in which they were asked."""

    def __init__(
        self,
        space: Space,
        objectives: Sequence[Objective],
        settings: SearchSettings,
        early: EarlyTerminate | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space, self.objectives = space, objectives
        self._study = optuna.create_study(
            sampler=sampler_of(settings),
            pruner=pruner_of(early),
            directions=["maximize" if one.maximize else "minimize" for one in objectives],
        )

    def ask(self) -> tuple[Trial, list[str]]:
        """The next trial, and its overrides."""
        trial = self._study.ask(self.space.distributions)
        return trial, self.space.overrides(trial.params)

    def tell_failed(self, trial: Trial) -> None:
        """The trial has no result."""
        self._study.tell(trial, state=TrialState.FAIL)

    def tell_run(self, trial: Trial, run: RunFolder, watched: bool) -> tuple[Measured, ...] | None:
        """Tell what a run folder holds: its result, or that it was ended early. None if it holds
        neither, or no value for an objective: then the trial failed.

        `watched` says that the trial's live values were reported already.
        """
        ended, live = reported(run)
        if run.state().state == "done":
            values = [objective.of(run.result()) for objective in self.objectives]
            if None not in values:
                if not watched:
                    self._report(trial, live)
                self._study.tell(trial, [one.value for one in values])  # type: ignore[union-attr]
                return tuple(values)  # type: ignore[arg-type]
        elif ended:
            if not watched:
                self._report(trial, live)
            self._study.tell(trial, state=TrialState.PRUNED)
            return None
        self.tell_failed(trial)
        return None

    def _report(self, trial: Trial, values: Sequence[float]) -> None:
        if len(self.objectives) == 1:
            for step, value in enumerate(values, 1):
                trial.report(value, step)


def sampler_of(settings: SearchSettings) -> optuna.samplers.BaseSampler:
    """Optuna's sampler."""
    if settings.sampler == "nsga2":
        return optuna.samplers.NSGAIISampler(
            seed=settings.seed, population_size=settings.population
        )
    return optuna.samplers.TPESampler(seed=settings.seed, n_startup_trials=settings.population)


def pruner_of(early: EarlyTerminate | None) -> optuna.pruners.BasePruner:
    """Asynchronous successive halving (Li et al. 2020), which W&B calls hyperband."""
    if early is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=early.min_iter, reduction_factor=early.eta
    )


def reported(run: RunFolder) -> tuple[bool, list[float]]:
    """Whether a search ended the run early, and the live values that it saw."""
    path = run.path / REPORTED
    if not path.exists():
        return False, []
    saved = read_json(path)
    return bool(saved["ended_early"]), list(saved["values"])


class Watch:
    """Gets what a run logs while it is measured, and ends the run if its trial falls behind."""

    def __init__(self, trial: Trial, run: RunFolder) -> None:
        self._trial, self._run = trial, run
        self._values: list[float] = []

    def __call__(self, metrics: dict[str, Any]) -> None:
        """Report the live metric. Raises EndedEarly."""
        value = metrics.get(LIVE_METRIC)
        if value is None:
            return
        self._values.append(value)
        self._trial.report(value, len(self._values))
        behind = self._trial.should_prune()
        # written before the run ends, so that a kill in between changes nothing
        write_json(
            self._run.path / REPORTED,
            {"metric": LIVE_METRIC, "values": self._values, "ended_early": behind},
        )
        if behind:
            raise EndedEarly(
                f"ended early by the search: {LIVE_METRIC} {value:.4g} after "
                f"{len(self._values)} windows is behind that of other trials"
            )
