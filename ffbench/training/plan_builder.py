"""Build a sparse plan on calibration text: fit the layers, schedule them, refine; each step
cached.
"""

import logging
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.expert_plans import expert_plan_problems
from ffbench.methods.groups import group_problem
from ffbench.methods.objective import Objective
from ffbench.methods.plan import PlanSettings, SparsePlan
from ffbench.methods.schedulers import LayerMeasurements, Scheduler, by_width, schedule
from ffbench.methods.schedulers.uniform import Uniform
from ffbench.models.adapters import gated_ffns, has_routed
from ffbench.training import curvature, sensitivity
from ffbench.training.answer_metric import combined_metric, importances
from ffbench.training.layer_fit import (
    LayerFit,
    build_plan,
    fit_layer,
    load_fits,
    refit_layer,
    save_fits,
)
from ffbench.training.layer_walk import walk_layers
from ffbench.training.neuron_order import load_orders, save_orders
from ffbench.training.output_map import fit_output_maps, load_maps, save_maps
from ffbench.training.plan_stages import (
    MAP_WINDOWS,
    MIXING_WINDOWS,
    SENSITIVITY_WINDOWS,
    TUNING_WINDOWS,
    Cache,
    PlanStages,
    TrainingText,
)
from ffbench.training.tails import TailWindow, block_tail_windows, tail_windows, window_length
from ffbench.training.token_mixing import load_scores, save_scores, token_mixing_scores
from ffbench.training.tuning.teacher import save_teacher
from ffbench.training.tuning.tune import forget_state, tune

logger = logging.getLogger(__name__)


class PlanBuilder:
    """Builds the plan of some settings for one model."""

    def __init__(
        self,
        *,
        model: Any,
        settings: PlanSettings,
        objective: Objective,
        text: TrainingText,
        stages: PlanStages,
        cache: Cache,
        fingerprint: dict[str, str],
    ) -> None:
        self.model, self.settings, self.objective = model, settings, objective
        self.text, self.stages, self.cache, self.fingerprint = text, stages, cache, fingerprint
        self.ffns = gated_ffns(model)
        self.widths = [len(ffn.w_gate) for ffn in self.ffns]
        if problem := group_problem(self.widths[0], settings.group_size):
            raise ValueError(problem)
        if has_routed(self.ffns) and (problems := expert_plan_problems(settings)):
            raise ValueError(f"a mixture of experts: {'; '.join(problems)}")
        self._fits: list[LayerFit] | None = None

    def fits(self) -> list[LayerFit]:
        """Closed forms of every layer, shared by all selectors, sparsities and block sizes."""
        if self._fits is None:
            compensator = self.settings.compensator

            def make(folder: Path) -> None:
                layers = walk_layers(self.model, self.text.calibration, "fit: layers")
                save_fits((fit_layer(data, compensator) for data in layers), folder)

            self._fits = load_fits(self.cache(self.stages.fit, make), compensator)
        return self._fits

    def refitted(self, kept: list[int]) -> list[LayerFit]:
        """The fits once the kept neurons per layer are known."""
        stage, compensator = self.stages.refit, self.settings.compensator
        if stage is None:
            return self.fits()
        fits = self.fits()

        def make(folder: Path) -> None:
            layers = walk_layers(self.model, self.text.calibration, "fit: kept neurons")
            rows = zip(layers, fits, kept, strict=True)
            save_fits((refit_layer(d, compensator, fit, count) for d, fit, count in rows), folder)

        return load_fits(self.cache(stage, make), compensator)

    def orders(self) -> list[Tensor] | None:
        """Each layer's neurons in groups that are wanted together; None for groups of one."""
        stage, s = self.stages.neuron_order, self.settings
        if stage is None:
            return None
        states = [fit.compensation for fit in self.fits()]
        text = self.text.calibration
        return load_orders(
            self.cache(
                stage,
                lambda folder: save_orders(
                    self.model, text, states, s.block_size, s.group_size, folder
                ),
            )
        )

    def kept(self, scheduler: Scheduler, group_size: int = 1) -> list[int]:
        """Kept neurons of each FFN by a scheduler; each measurement is made when it is asked for.
        With experts, whose scheduler asks for none, FFNs may have several widths.
        """
        density = 1 - self.settings.sparsity

        def of_width(layers: int, f: int) -> list[int]:
            there = LayerMeasurements(layers, f, density, self.token_mixing, self.values)
            return schedule(scheduler, there, group_size)

        return by_width(self.widths, of_width)

    def token_mixing(self, mass: str) -> list[float]:
        """Token-mixing scores of the layers by one definition of attention mass."""
        assert self.stages.token_mixing is not None
        windows = self.text.calibration[:: max(1, len(self.text.calibration) // MIXING_WINDOWS)]
        folder = self.cache(
            self.stages.token_mixing,
            lambda path: save_scores(token_mixing_scores(self.model, windows), path),
        )
        scores: dict[str, list[float]] = load_scores(folder)
        return scores[mass]

    def energies(self) -> Tensor:
        """Expected residual energy of each neuron, [layers, f]."""
        return torch.stack([fit.predictor.prior for fit in self.fits()])

    def values(self, measure: str) -> Tensor:
        """What keeping each neuron is worth by a measure and the objective, [layers, f]."""
        parts = {"sensitivity": self.sensitivity_values, "curvature": self.curvature_values}
        values = curvature.weighted_values(parts[measure](), self.objective.weights())
        orders = self.orders()
        return values if orders is None else values.gather(1, torch.stack(orders))

    def sensitivity_values(self) -> dict[str, Tensor]:
        """Values by objective from the layers' measured costs at the uniform schedule."""
        assert self.stages.sensitivity is not None
        kept, names = self.kept(Uniform()), list(self.objective.weights())
        settings = replace(self.settings, hot_fraction=0.0, group_size=1)
        plan = build_plan(settings, self.fingerprint, self.fits(), kept, self.ffns)

        def make(folder: Path) -> None:
            windows = self.block_windows(SENSITIVITY_WINDOWS)
            save_scores(sensitivity.layer_costs(self.model, plan, windows, names), folder)

        costs: dict[str, list[float]] = load_scores(self.cache(self.stages.sensitivity, make))
        energies = self.energies()
        return {n: sensitivity.neuron_values(costs[n], energies, kept) for n in names}

    def curvature_folder(self) -> Path:
        """Curvature of the loss along neurons, and by direction of the outputs."""
        assert self.stages.curvature is not None
        names = list(self.objective.weights())

        def make(folder: Path) -> None:
            text = self.text.windows(self.objective.windows, window_length())
            windows = tail_windows(text, self.settings.first_dense)
            seed = self.settings.seed
            measured = curvature.neuron_curvature(self.model, windows, names, seed)
            curvature.save_curvature(*measured, folder)

        return self.cache(self.stages.curvature, make)

    def curvature_values(self) -> dict[str, Tensor]:
        """Values by objective from the curvature of the loss."""
        measured = curvature.load_curvature(self.curvature_folder())
        names = list(self.objective.weights())
        energies = self.energies()
        squares = torch.stack([ffn.w_down.float().square().sum(0).cpu() for ffn in self.ffns])
        return {n: curvature.curvature_values(energies, measured[n], squares) for n in names}

    @cached_property
    def metric(self) -> Tensor | None:
        """What errors of each layer's output count, [layers, d, d]; None: their size."""
        if not self.stages.by_answer:
            return None
        scales = {n: float(values.sum()) for n, values in self.curvature_values().items()}
        fisher = curvature.load_fisher(self.curvature_folder())
        return combined_metric(fisher, scales, self.objective.weights())

    def importances(self) -> list[Tensor] | None:
        """What the energy of each neuron counts; None: all alike."""
        if self.metric is None:
            return None
        return importances(self.metric, [ffn.w_down for ffn in self.ffns])

    def block_windows(self, count: int) -> list[TailWindow]:
        """Training windows whose contexts hold whole blocks of the plan."""
        least = 3 * self.settings.block_size + self.settings.first_dense
        text = self.text.windows(count, max(window_length(), least))
        return block_tail_windows(text, self.settings)

    def with_output_maps(self, plan: SparsePlan) -> SparsePlan:
        """The plan with a map of the output in every layer, fitted to its own residual."""
        stage = self.stages.output_map
        if stage is None:
            return plan
        rank = self.settings.compensator.refinements().output_map_rank
        windows = self.text.calibration[:: max(1, len(self.text.calibration) // MAP_WINDOWS)]
        folder = self.cache(
            stage,
            lambda path: save_maps(
                fit_output_maps(self.model, plan, windows, rank, metric=self.metric), path
            ),
        )
        return replace(
            plan,
            layers=[
                replace(layer, compensation=layer.compensation.with_output_map(one))
                for layer, one in zip(plan.layers, load_maps(folder), strict=True)
            ],
        )

    def tuned(self, plan: SparsePlan) -> SparsePlan:
        """The plan with all layers tuned together; resumable."""
        stage, teaching = self.stages.tune, self.stages.teacher
        if stage is None or teaching is None:
            return plan
        weights = self.objective.weights()
        windows = self.block_windows(TUNING_WINDOWS)
        teacher = self.cache(
            teaching, lambda folder: save_teacher(self.model, windows, list(weights), folder)
        )
        steps = self.settings.compensator.refinements().tune_steps

        def make(folder: Path) -> None:
            layers = tune(self.model, plan, windows, weights, teacher, steps, folder)
            fits = [LayerFit(one.compensation, one.predictor, one.statistics) for one in layers]
            save_fits(fits, folder)
            forget_state(folder)

        fits = load_fits(self.cache(stage, make), self.settings.compensator)
        return replace(
            plan,
            layers=[
                replace(layer, compensation=fit.compensation, predictor=fit.predictor)
                for layer, fit in zip(plan.layers, fits, strict=True)
            ],
        )

    def with_dense_experts(self, kept: list[int]) -> list[int]:
        """Kept neurons by FFN; experts that too few tokens reach for a fit keep all of theirs."""
        experts = [i for i, ffn in enumerate(self.ffns) if ffn.expert is not None]
        dense = [i for i in experts if self.fits()[i].empty]
        if dense:
            names = "; ".join(self.ffns[i].name for i in dense)
            logger.warning(
                "%d of %d experts stay dense, since too few calibration tokens reach them: %s",
                len(dense),
                len(experts),
                names,
            )
        return [self.widths[i] if i in dense else count for i, count in enumerate(kept)]

    def plan(self) -> SparsePlan:
        """The plan, with output maps and tuned if its compensator says so."""
        s = self.settings
        kept = self.with_dense_experts(self.kept(s.scheduler, s.group_size))
        fits = self.refitted(kept)
        plan = build_plan(
            s, self.fingerprint, fits, kept, self.ffns, self.orders(), self.importances()
        )
        return self.tuned(self.with_output_maps(plan))
