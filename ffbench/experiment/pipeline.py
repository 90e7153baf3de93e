"""The stages of one run, and its result; what is done already is read, not repeated."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ffbench.experiment import identity
from ffbench.experiment.plan_cards import measured_card
from ffbench.experiment.session import Session
from ffbench.methods.plan import PlanSettings, SparsePlan, untimed
from ffbench.methods.plan_files import save_header
from ffbench.runs.answers import AnswerLog
from ffbench.runs.machine import Machine
from ffbench.runs.progress import log_line
from ffbench.runs.provenance import cpu_name, gpu_name
from ffbench.runs.run_folder import RunFolder
from ffbench.runs.schema import SCHEMA_VERSION
from ffbench.runs.stage import Stage
from ffbench.settings import RunSettings
from ffbench.tracking.base import Tracker
from ffbench.tracking.mirror import objective

UNMEASURED = (
    "block_size",
    "blocks",
    "calibration_text",
    "hot_fraction",
    "group_size",
    "objective",
    "fidelity",
    "speed",
    "density_used",
    "speed_reason",
    "recall_at_k",
    "retained_energy",
    "layers",
    "flops",
)


class Pipeline(Session):
    """The stages of one run."""

    def __init__(
        self, settings: RunSettings, run: RunFolder, tracker: Tracker, machine: Machine
    ) -> None:
        super().__init__(settings, machine)
        self.run, self.tracker = run, tracker
        from ffbench.evaluation.filled_prompts import filled

        self.work = filled(self.tokenizer, identity.work_of(settings), settings.task.max_length)
        self.log_start()

    def log_start(self) -> None:
        """Print device, dtype and kernel, and a card that is there but not used."""
        from ffbench.models.device import start_line
        from ffbench.models.kernel_names import kernel_name

        weight = self.model.get_input_embeddings().weight
        backend = kernel_name(self.settings.kernel.backend, weight)
        log_line(start_line(self.model.device, self.model.dtype, backend))

    def protocol(self) -> Any:
        """How prompts are answered."""
        from ffbench.evaluation.answers import Protocol

        task = self.settings.task
        backend = self.settings.kernel.backend
        return Protocol(task.max_length, task.batch_size, task.protocol, backend, task.decode)

    def dense_answers(self) -> list[dict[str, Any]]:
        """Dense answers, computed once per model and set of prompts."""
        from ffbench.evaluation.answers import evaluate

        stage = self.stages.answers
        if stage is None:
            return []

        def make(folder: Path) -> None:
            log = AnswerLog(folder / "answers.jsonl")
            evaluate(self.model, self.tokenizer, None, self.work, log, self.protocol())

        return AnswerLog(self.cached(stage, make) / "answers.jsonl").read()

    def plan(self) -> SparsePlan:
        """The trained plan, saved in the run's folder."""
        plan = self.trained_plan()
        plan.save(self.run.path / "plan")
        return plan

    def selection(self, plan: SparsePlan) -> dict[str, Any]:
        """Metrics of the selector by layer, and their means; one held-out window of each text. Not
        measured for experts.
        """
        import torch

        from ffbench.evaluation.selection import selection_metrics
        from ffbench.experiment.calibration import heldout_windows
        from ffbench.training.token_mixing import load_scores

        if not self.settings.fidelity.windows or untimed(plan.settings) or plan.mixture:
            return {}
        length = max(*self.settings.fidelity.contexts, 2 * plan.settings.block_size)
        windows = torch.cat(list(heldout_windows(self.tokenizer, length, length).values()))
        self.yield_to_measurements()
        with self.timed("selection"):
            rows: list[dict[str, Any]] = [*selection_metrics(self.model, plan, windows)]
        mixing = (
            load_scores(self.folders["token_mixing"])["others"]
            if "token_mixing" in self.folders
            else [None] * len(rows)
        )
        rows = [row | {"token_mixing": score} for row, score in zip(rows, mixing, strict=True)]
        names = ("recall_at_k", "retained_energy")
        means = {name: sum(row[name] for row in rows) / len(rows) for name in names}
        return {"layers": rows} | means

    def sparse_answers(self, plan: SparsePlan) -> list[dict[str, Any]]:
        """The run's own answers, resuming an earlier start."""
        from ffbench.evaluation.answers import evaluate

        if not self.work:
            return []
        self.yield_to_measurements()
        log, protocol = self.run.answer_log, self.protocol()
        answers = evaluate(self.model, self.tokenizer, plan, self.work, log, protocol)
        self.cost["evaluate"] = sum(answer["seconds"] for answer in answers)
        return answers

    def fidelity(self, plan: SparsePlan) -> dict[str, Any] | None:
        """Fidelity by tail, text and context; None if it is left out.

        The tracker gets the objective of a search over plans after every case, so that a search can
        end early.
        """
        from ffbench.evaluation.bootstrap import interval as stratified_interval
        from ffbench.evaluation.fidelity import Row, measure, save_dense, summary
        from ffbench.experiment.fidelity_cases import fidelity_cases
        from ffbench.methods.flops import flops_of

        stage = self.stages.dense_tails
        if stage is None:
            return None
        cases = fidelity_cases(self.settings.fidelity, self.tokenizer)
        folder = self.cached(stage, lambda path: save_dense(self.model, cases, path))
        flops = flops_of(plan)

        def report(rows: list[Row]) -> None:
            answers = [row.kl for row in rows if row.tail != "prompt"]
            if answers:
                value = objective(sum(answers) / len(answers), flops.ratio)
                self.tracker.log({"objective": value, "windows": len(rows)})

        with self.timed("fidelity"):
            backend = self.settings.kernel.backend
            measured = measure(self.model, plan, cases, folder, backend, report)
        used = flops.whole_prompt(measured.density)
        part = {"part": self.settings.fidelity.part}
        return part | summary(measured, used, stratified_interval)

    def speed(self, plan: SparsePlan) -> dict[str, Any] | None:
        """FFN and TTFT speedups with their conditions; None if speed is left out.

        Kept by machine and torch: a run that is repeated on another one measures again.
        """
        import torch

        from ffbench.experiment.measured_speed import measured_speed

        s = self.settings
        if not s.speed.rounds or untimed(plan.settings):
            return None
        threads = s.kernel.threads or torch.get_num_threads()
        where = {
            "cpu": cpu_name(),
            # tells processors apart whose model a virtual machine hides
            "instruction_set": torch.backends.cpu.get_cpu_capability(),
            "torch": torch.__version__,
            "device": gpu_name(str(self.model.device)) or str(self.model.device),
            "threads": threads,
            "backend": s.kernel.backend,
        }
        folder = self.run.path / "plan"
        measured = self.measured(
            self.stages.speed(where),
            lambda: measured_speed(s, self.model, self.tokenizer, folder, threads),
        )
        return measured | self.wide_speed(where, plan.settings)

    def wide_speed(self, where: dict[str, Any], settings: PlanSettings) -> dict[str, Any]:
        """The field `wide` of the speed, if a wide shape is set; shared by runs of the same plan
        settings.
        """
        from ffbench.experiment.measured_speed import measured_wide_speed

        if not self.settings.speed.wide_shape:
            return {}
        dtype = str(self.model.dtype).removeprefix("torch.")
        measured = self.measured(
            self.stages.wide_speed(where | {"dtype": dtype}),
            lambda: measured_wide_speed(self.settings, settings, self.model, where["threads"]),
        )
        return {"wide": measured}

    def measured(self, stage: Stage, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A measurement of this machine, made once."""
        from ffbench.experiment.measured_speed import measured_once

        # not through `cached`: a measurement must not count as a stage that others may wait for
        self.yield_to_measurements()
        measured = measured_once(self.cache, self.machine, stage, measure)
        self.cost[stage.name] = self.cache.seconds(stage.name, stage.key)
        return measured

    def head(self) -> dict[str, Any]:
        """The fields that name the run."""
        from ffbench.evaluation.chat_template import template_hash

        s = self.settings
        return {
            "schema_version": SCHEMA_VERSION,
            "run_key": self.run.run_key,
            "model": s.model.name,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": str(self.model.device),
            "sparsity": float(s.sparsity),
            "task": s.task.name,
            "protocol": s.task.protocol,
            "chat_template": template_hash(self.tokenizer),
            "dense_answers": self.stages.answers.key if self.stages.answers else None,
            "seed": s.seed,
        }

    def dense_result(self) -> dict[str, Any]:
        """Every metric of the run at sparsity 0."""
        from ffbench.evaluation.metrics import task_metrics

        dense = self.dense_answers()
        names = dict.fromkeys(("selector", "compensator", "scheduler"), "dense")
        metrics = task_metrics(dense, dense, self.work)
        return (
            self.head()
            | names
            | {"parameters": {}}
            | dict.fromkeys(UNMEASURED)
            | metrics
            | {"cost": self.cost}
        )

    def sparse_result(self) -> dict[str, Any]:
        """Every metric of a sparse run."""
        from ffbench.evaluation.metrics import task_metrics
        from ffbench.methods.flops import flops_of

        s, dense = self.settings, self.dense_answers()
        plan = self.plan()
        selection = self.selection(plan)
        fidelity = self.fidelity(plan)
        self.tracker.log({"fidelity": fidelity["tails"]} if fidelity else {})
        speed = self.speed(plan)
        plan.card |= measured_card(fidelity, speed)
        save_header(plan, self.run.path / "plan")
        flops = flops_of(plan)
        metrics = task_metrics(dense, self.sparse_answers(plan), self.work, flops)
        p = plan.settings
        return (
            self.head()
            | dict.fromkeys(UNMEASURED)
            | p.method_fields()
            | {
                "block_size": s.block_size,
                "blocks": s.blocks,
                "calibration_text": identity.calibration_name(s),
                "hot_fraction": s.hot_fraction,
                "group_size": s.group_size,
                "objective": asdict(s.objective),
                "fidelity": fidelity,
                "speed": speed,
                "speed_reason": untimed(p),
                "density_used": fidelity["density_used"] if fidelity else None,
                "flops": asdict(flops),
            }
            | selection
            | metrics
            | {"cost": self.cost}
        )
