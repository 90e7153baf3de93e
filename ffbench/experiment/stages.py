"""The graph of stages that lead from settings to a run's result.

A stage's key holds its version, its parameters and the keys of its inputs, so a version that is
raised re-keys everything made from it, the run included.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any

from ffbench.experiment import identity
from ffbench.experiment.declarations import declared
from ffbench.methods.plan import METHODS, PlanSettings
from ffbench.models.kernel_names import INT8
from ffbench.plugins import source_of
from ffbench.runs.stage import Stage
from ffbench.settings import RunSettings
from ffbench.training.plan_stages import (
    MAP_WINDOWS,
    MIXING_WINDOWS,
    SENSITIVITY_WINDOWS,
    TUNING_WINDOWS,
    PlanStages,
)
from ffbench.training.tails import CONTEXT_TOKENS, COPY_TOKENS, TAIL_TOKENS
from ffbench.training.token_mixing import FAR_TOKENS, MIXING_TOKENS


def plugin_sources(named: Iterable[str]) -> dict[str, Any]:
    """Hashes of the source of methods and tasks that are not ours, which no version of a stage
    follows; empty without any.
    """
    found = {name: source_of(name) for name in sorted(named)}
    sources = {name: source for name, source in found.items() if source}
    return {"plugins": sources} if sources else {}


class RunStages:
    """The stages of one run, by the run's settings."""

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings

    @cached_property
    def plan_settings(self) -> PlanSettings:
        """Settings of the plan."""
        return identity.plan_settings(self.settings)

    @cached_property
    def model(self) -> Stage:
        """Identity of the weights."""
        return declared("model", identity.model_identity(self.settings))

    @cached_property
    def text(self) -> Stage:
        """Identity of the text that plans learn from."""
        return declared("text", identity.text_identity(self.settings))

    @cached_property
    def prompts(self) -> Stage:
        """Identity of the scored prompts, and of the code that scores them if it is not ours."""
        sources = plugin_sources(f"task {name}" for name in self.settings.task.tasks)
        return declared("prompts", identity.prompts_identity(self.settings) | sources)

    @cached_property
    def fit(self) -> Stage:
        """Closed forms of every layer; no selector, sparsity or block size counts."""
        c = self.settings.calibration
        parameters = {
            "compensator": self.plan_settings.compensator.closed_form_parameters(),
            "tokens": c.tokens,
            "window": c.window,
        }
        return declared("fit", parameters | self.plugins("compensator"), self.model, self.text)

    def plugins(self, *kinds: str) -> dict[str, Any]:
        """`plugin_sources` of the plan's methods."""
        return plugin_sources(f"{kind} {getattr(self.plan_settings, kind).name}" for kind in kinds)

    @cached_property
    def neuron_order(self) -> Stage | None:
        """Groups of neurons, if there are any."""
        s = self.plan_settings
        if s.group_size == 1:
            return None
        sizes = {"block_size": s.block_size, "group_size": s.group_size}
        return declared("neuron_order", sizes, self.fit)

    @cached_property
    def measurement(self) -> dict[str, Stage]:
        """What the scheduler reads."""
        names = self.plan_settings.scheduler.measurements
        return {name: getattr(self, f"{name}_stage")() for name in names}

    def token_mixing_stage(self) -> Stage:
        """Attention masses of every definition."""
        c = self.settings.calibration
        sizes = {
            "windows": MIXING_WINDOWS,
            "window": c.window,
            "read": MIXING_TOKENS,
            "tokens": c.tokens,
            "far": FAR_TOKENS,
        }
        return declared("token_mixing", sizes, self.model, self.text)

    def tails(self) -> dict[str, Any]:
        """Sizes of the training windows and the losses that are looked at."""
        return {
            "context": CONTEXT_TOKENS,
            "tail": TAIL_TOKENS,
            "copy": COPY_TOKENS,
            "losses": sorted(self.settings.objective.weights()),
        }

    def curvature_stage(self) -> Stage:
        """Fisher information; the weights of the losses count later."""
        s = self.plan_settings
        own = {"windows": self.settings.objective.windows, "first_dense": s.first_dense}
        if s.seed:  # seed 0 keeps the key from before seeds counted here
            own["seed"] = s.seed
        return declared("curvature", self.tails() | own, self.model, self.text)

    def sensitivity_stage(self) -> Stage:
        """Costs of layers at the uniform schedule."""
        settings = self.schedule_parameters() | {"windows": SENSITIVITY_WINDOWS} | self.tails()
        return declared("sensitivity", settings, self.fit)

    def schedule_parameters(self) -> dict[str, Any]:
        """The plan's settings without what follows the schedule."""
        plain = self.plan_settings.as_dict() | self.plugins(*METHODS)
        return plain | {"compensator": self.plan_settings.compensator.closed_form_parameters()}

    @property
    def by_answer(self) -> bool:
        """Whether errors of outputs count by what they do to the answer."""
        metric = self.settings.objective.metric
        measured = "curvature" in self.plan_settings.scheduler.measurements
        return metric == "answer" or (metric == "auto" and measured)

    @cached_property
    def metric(self) -> Stage | None:
        """The stage that the metric is read from, unless the scheduler reads it already."""
        return self.curvature_stage() if self.by_answer and not self.measured_curvature else None

    @property
    def measured_curvature(self) -> Stage | None:
        """The curvature that the scheduler reads."""
        return self.measurement.get("curvature")

    def weights(self) -> dict[str, Any]:
        """The objective's weights and metric, if the scheduler, the choice of neurons or the tuning
        uses them.
        """
        tunes = self.plan_settings.compensator.refinements().tune_steps
        uses = {"sensitivity", "curvature"} & set(self.plan_settings.scheduler.measurements)
        if not (tunes or uses or self.by_answer):
            return {}
        metric = {"metric": "answer"} if self.by_answer else {}
        return {"objective": self.settings.objective.weights()} | metric

    @cached_property
    def refit(self) -> Stage | None:
        """The closed form for the kept neurons, if the compensator depends on them."""
        compensator = self.plan_settings.compensator
        if not compensator.refits_for_kept:
            return None
        parameters = self.schedule_parameters() | self.weights()
        parameters["compensator"] = {"name": compensator.name, **compensator.parameters()}
        return declared(
            "refit", parameters, self.fit, self.neuron_order, *self.measurement.values()
        )

    @cached_property
    def scheduled(self) -> tuple[Stage | None, ...]:
        """What a plan with its schedule is made from."""
        measured = (*self.measurement.values(), self.metric)
        return (self.refit or self.fit, self.neuron_order, *measured)

    @cached_property
    def output_map(self) -> Stage | None:
        """Maps of the output, if the compensator has them."""
        rank = self.plan_settings.compensator.refinements().output_map_rank
        if not rank:
            return None
        parameters = self.schedule_parameters() | self.weights()
        sizes = {"output_map_rank": rank, "windows": MAP_WINDOWS}
        return declared("output_map", parameters | sizes, *self.scheduled)

    @cached_property
    def teacher(self) -> Stage | None:
        """What tuning learns from, if there is tuning."""
        if not self.plan_settings.compensator.refinements().tune_steps:
            return None
        s = self.plan_settings
        sizes = {"windows": TUNING_WINDOWS, "block_size": s.block_size, "first": s.first_dense}
        return declared("teacher", self.tails() | sizes, self.model, self.text)

    @cached_property
    def tune(self) -> Stage | None:
        """The tuned layers."""
        if self.teacher is None:
            return None
        steps = self.plan_settings.compensator.refinements().tune_steps
        parameters = self.schedule_parameters() | self.weights() | {"tune_steps": steps}
        return declared("tune", parameters, *self.scheduled, self.output_map, self.teacher)

    @cached_property
    def plan(self) -> Stage:
        """The plan."""
        parameters = self.plan_settings.as_dict() | self.weights() | self.plugins(*METHODS)
        return declared("plan", parameters, *self.scheduled, self.output_map, self.tune)

    @property
    def plan_stages(self) -> PlanStages:
        """The stages that the plan builder asks for."""
        measurement = self.measurement
        return PlanStages(
            fit=self.fit,
            refit=self.refit,
            neuron_order=self.neuron_order,
            token_mixing=measurement.get("token_mixing"),
            sensitivity=measurement.get("sensitivity"),
            curvature=measurement.get("curvature") or self.metric,
            output_map=self.output_map,
            teacher=self.teacher,
            tune=self.tune,
            plan=self.plan,
            by_answer=self.by_answer,
        )

    @cached_property
    def answers(self) -> Stage | None:
        """Dense answers, shared by every run of a model on the same prompts."""
        return (
            declared("answers", {}, self.model, self.prompts) if self.settings.task.tasks else None
        )

    @cached_property
    def dense_tails(self) -> Stage | None:
        """The dense side of fidelity."""
        f = self.settings.fidelity
        if not f.windows:
            return None
        heldout = declared("text", {"text": identity.data_hash(), "part": f.part})
        return declared("dense_tails", asdict(f), self.model, heldout)

    def speed(self, machine: Mapping[str, Any]) -> Stage:
        """Times on one machine; `machine` names processor, card, threads, backend and torch."""
        speed = self.settings.speed.key_parameters()
        speed.pop("wide_shape", None)
        return declared("speed", speed | dict(machine), self.plan)

    def wide_speed(self, machine: Mapping[str, Any]) -> Stage:
        """Times of a random plan of these settings at the wide shape; no weights count."""
        speed = self.settings.speed
        sizes = {"shape": speed.wide_shape, "lengths": speed.lengths, "rounds": speed.rounds}
        return declared(
            "wide_speed",
            {"plan": self.plan_settings.as_dict()} | self.plugins(*METHODS) | sizes | dict(machine),
        )

    @cached_property
    def run(self) -> Stage:
        """The run: the last stage."""
        s = self.settings
        if s.dense:
            return declared("run", {"sparsity": 0.0}, self.model, self.answers, self.prompts)
        parameters: dict[str, Any] = {
            "protocol": s.task.protocol,
            "speed": s.speed.key_parameters(),
        }
        if s.speed.rounds:
            parameters["kernel"] = asdict(s.kernel)
        if s.kernel.backend == INT8:
            parameters["ffn_weights"] = INT8
        # runs with one context keep the keys that they had
        if s.fidelity.windows and len(s.fidelity.contexts) > 1:
            parameters["interval_units"] = "documents"
        return declared("run", parameters, self.plan, self.answers, self.prompts, self.dense_tails)


def run_key(settings: RunSettings) -> str:
    """16 hex digits that name the run folder."""
    return RunStages(settings).run.key
