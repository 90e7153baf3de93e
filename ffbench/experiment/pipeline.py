"""One run from settings to result.json; what is done already is read, not repeated."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from ffbench.experiment import identity as keys
from ffbench.experiment.calibration import heldout_windows, training_text
from ffbench.methods.plan import SparsePlan
from ffbench.methods.selectors import SELECTORS, untimed
from ffbench.models.loading import ModelSpec, load_model
from ffbench.runs.answers import AnswerLog
from ffbench.runs.cache import WAIT_SECONDS, StageCache
from ffbench.runs.identity import content_key
from ffbench.runs.machine import Machine
from ffbench.runs.provenance import collect as provenance
from ffbench.runs.provenance import cpu_name
from ffbench.runs.store import INTERRUPTED, RunFolder, RunStore
from ffbench.settings import RunSettings
from ffbench.tracking.base import Tracker
from ffbench.tracking.mirror import mirror, objective
from ffbench.tracking.open import open_tracker

Cache = Callable[..., Path]
SCHEMA_VERSION = 1
UNMEASURED = (
    "block_size",
    "blocks",
    "calibration_text",
    "hot_fraction",
    "rank",
    "group_size",
    "fidelity",
    "speed",
    "density_used",
    "speed_reason",
    "recall_at_k",
    "retained_energy",
    "layers",
    "flops",
)


@lru_cache(maxsize=1)
def loaded(spec: ModelSpec) -> tuple[Any, Any]:
    """Model and tokenizer, kept for the next run of a sweep."""
    return load_model(spec)


def train(settings: RunSettings, model: Any, tokenizer: Any, cached: Cache) -> SparsePlan:
    """The plan of `settings`, from the stages that `cached` holds or makes."""
    from ffbench.training.plan_builder import train_plan

    text = training_text(settings, tokenizer)
    return train_plan(
        model,
        keys.plan_settings(settings),
        text,
        keys.training_identity(settings),
        cached,
        keys.fingerprint(settings),
    )


def trained_plan(settings: RunSettings) -> SparsePlan:
    """The plan of `settings` by itself; its stages are shared with the runs of the same output
    folder.
    """
    model, tokenizer = loaded(keys.model_spec(settings))
    cache = StageCache(settings.output_dir)
    return train(
        settings,
        model,
        tokenizer,
        lambda stage, identity, make, **how: cache.get_or_make(
            stage, content_key(identity), make, **how
        ),
    )


class Workbench:
    """A model with the shared stages; `cost` holds seconds, for a cached stage those of the run
    that made it.
    """

    def __init__(self, settings: RunSettings, machine: Machine | None = None) -> None:
        self.settings, self.machine = settings, machine
        self._making = 0
        self.cache = StageCache(settings.output_dir)
        self.cost: dict[str, float | None] = {}
        self.folders: dict[str, Path] = {}
        with self.timed("load"):
            self.model, self.tokenizer = loaded(keys.model_spec(settings))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note the seconds of what happens inside."""
        start = time.perf_counter()
        yield
        self.cost[stage] = time.perf_counter() - start

    def cached(
        self,
        stage: str,
        identity: dict[str, Any],
        make: Callable[[Path], None],
        *,
        resumable: bool = False,
    ) -> Path:
        """The folder of a shared stage, made where it is missing."""
        key = content_key(identity)
        self.halt()
        self._making += 1
        try:
            folder = self.cache.get_or_make(stage, key, make, resumable=resumable)
        finally:
            self._making -= 1
        self.cost[stage] = self.cache.seconds(stage, key)
        self.folders[stage] = folder
        return folder

    def halt(self) -> None:
        """Between two stages: let a measurement of another job on this machine go first."""
        if (
            self.machine and not self._making
        ):  # inside a stage another job may wait for it, and could not halt
            self.machine.halt()

    def heldout(self) -> dict[str, Any]:
        """Held-out windows of each text."""
        f = self.settings.fidelity
        return heldout_windows(self.tokenizer, f.windows * f.window, f.window)


class Pipeline(Workbench):
    """The stages of one run."""

    def __init__(
        self, settings: RunSettings, run: RunFolder, tracker: Tracker, machine: Machine
    ) -> None:
        super().__init__(settings, machine)
        self.run, self.tracker = run, tracker
        self.work = keys.work_of(settings)

    def protocol(self) -> Any:
        """How prompts are answered."""
        from ffbench.evaluation.answers import Protocol

        task = self.settings.task
        return Protocol(
            task.max_length, task.batch_size, task.protocol, self.settings.kernel.backend
        )

    def dense_answers(self) -> list[dict[str, Any]]:
        """Dense answers, computed once a model and set of prompts."""
        from ffbench.evaluation.answers import evaluate

        if not self.work:
            return []

        def make(folder: Path) -> None:
            evaluate(
                self.model,
                self.tokenizer,
                None,
                self.work,
                AnswerLog(folder / "answers.jsonl"),
                self.protocol(),
            )

        key = keys.answers_key(self.settings)
        self.halt()
        folder = self.cache.get_or_make("answers", key, make, resumable=True)
        self.cost["answers"] = self.cache.seconds("answers", key)
        return AnswerLog(folder / "answers.jsonl").read()

    def plan(self) -> SparsePlan:
        """The trained plan, saved in the run's folder."""
        plan = train(self.settings, self.model, self.tokenizer, self.cached)
        plan.save(self.run.path / "plan")
        return plan

    def selection(self, plan: SparsePlan) -> dict[str, Any]:
        """Figures of the selector by layer, and their means; one held-out window of each text."""
        import torch

        from ffbench.evaluation.selection import selection_figures
        from ffbench.training.token_mixing import load_scores

        if not self.settings.fidelity.windows or not SELECTORS[plan.settings.selector].block_wise:
            return {}
        windows = torch.cat([batch[:1] for batch in self.heldout().values()])
        self.halt()
        with self.timed("selection"):
            rows = selection_figures(self.model, plan, windows)
        mixing = (
            load_scores(self.folders["mixing"])["others"]
            if "mixing" in self.folders
            else [None] * len(rows)
        )
        rows = [row | {"token_mixing": score} for row, score in zip(rows, mixing, strict=True)]
        names = ("recall_at_k", "retained_energy")
        return {"layers": rows} | {
            name: sum(row[name] for row in rows) / len(rows) for name in names
        }

    def sparse_answers(self, plan: SparsePlan) -> list[dict[str, Any]]:
        """The run's own answers, going on where an earlier start stopped."""
        from ffbench.evaluation.answers import evaluate

        if not self.work:
            return []
        self.halt()
        answers = evaluate(
            self.model,
            self.tokenizer,
            plan,
            self.work,
            AnswerLog(self.run.path / "answers.jsonl"),
            self.protocol(),
        )
        self.cost["evaluate"] = sum(answer["seconds"] for answer in answers)
        return answers

    def fidelity(self, plan: SparsePlan) -> dict[str, Any] | None:
        """Fidelity figures of each text and their mean; None where they are left out.

        The tracker gets the objective of a search over plans after every window, so that a search
        can end early.
        """
        from ffbench.evaluation.fidelity import fidelity_rows, save_dense, summarise
        from ffbench.methods.flops import flops_of

        s = self.settings
        if not s.fidelity.windows:
            return None
        windows = self.heldout()
        folder = self.cached(
            "hidden", keys.heldout_identity(s), lambda path: save_dense(self.model, windows, path)
        )
        ratio = flops_of(plan)["ratio"]

        def seen(rows: list[dict[str, float]]) -> None:
            kl = sum(row["kl"] for row in rows) / len(rows)
            self.tracker.log({"objective": objective(kl, ratio), "windows": len(rows)})

        with self.timed("fidelity"):
            rows = fidelity_rows(self.model, plan, windows, folder, s.kernel.backend, seen)
        return summarise(rows, s.fidelity.window)

    def speed(self, plan: SparsePlan) -> dict[str, Any] | None:
        """FFN and TTFT speedups with their conditions; None where speed is left out."""
        import torch

        from ffbench.evaluation.speed import prefill_times

        s = self.settings
        if not s.speed.rounds or untimed(plan):
            return None
        threads = s.kernel.threads or torch.get_num_threads()
        alone = self.machine.alone() if self.machine else nullcontext()
        with alone, self.timed("speed"):
            times = prefill_times(
                self.model, plan, s.speed.lengths, s.speed.rounds, threads, s.kernel.backend
            )
        return {
            "ffn": times[0].figures(times[0].ffn),
            "ttft": [one.figures(one.prefill) for one in times],
            "threads": threads,
            "cpu": cpu_name(),
            "backend": s.kernel.backend,
        }

    def head(self) -> dict[str, Any]:
        """The fields that name the run."""
        from ffbench.evaluation.prompts import template_hash

        s = self.settings
        return {
            "schema_version": SCHEMA_VERSION,
            "run_key": self.run.run_key,
            "model": s.model.name,
            "dtype": s.model.dtype,
            "sparsity": float(s.sparsity),
            "task": s.task.name,
            "protocol": s.task.protocol,
            "chat_template": template_hash(self.tokenizer),
            "dense_answers": keys.answers_key(s) if self.work else None,
        }

    def dense_result(self) -> dict[str, Any]:
        """Every figure of the run at sparsity 0."""
        from ffbench.evaluation.metrics import task_figures

        dense = self.dense_answers()
        names = dict.fromkeys(("selector", "compensator", "scheduler"), "dense")
        return (
            self.head()
            | names
            | dict.fromkeys(UNMEASURED)
            | task_figures(dense, dense, self.work)
            | {"cost": self.cost}
        )

    def sparse_result(self) -> dict[str, Any]:
        """Every figure of a sparse run."""
        from ffbench.evaluation.metrics import task_figures
        from ffbench.methods.flops import flops_of

        s, dense = self.settings, self.dense_answers()
        plan = self.plan()
        selection = self.selection(plan)
        fidelity = self.fidelity(plan)
        self.tracker.log({"fidelity": fidelity} if fidelity else {})
        speed = self.speed(plan)
        figures = task_figures(dense, self.sparse_answers(plan), self.work)
        return (
            self.head()
            | dict.fromkeys(UNMEASURED)
            | {
                "selector": s.selector.name,
                "compensator": s.compensator.name,
                "scheduler": s.scheduler.name,
                "block_size": s.block_size,
                "blocks": s.blocks,
                "calibration_text": keys.calibration(s).get("text", keys.EMBEDDED)[:16],
                "hot_fraction": s.selector.hot_fraction,
                "rank": s.compensator.rank,
                "group_size": s.group_size,
                "fidelity": fidelity,
                "speed": speed,
                "speed_reason": untimed(plan),
                "density_used": fidelity["mean"]["density_used"] if fidelity else None,
                "flops": flops_of(plan),
            }
            | selection
            | figures
            | {"cost": self.cost}
        )


def execute(
    settings: RunSettings, command: list[str], draw: Callable[[Path], None] | None = None
) -> str:
    """Do one run unless it is done; returns its key. A failure is written into the run folder and
    raised.

    Where another process computes this run, its end is waited for. `draw` makes the pictures of a
    sparse run that a tracker gets.
    """
    key = keys.run_key(settings)
    run = RunStore(settings.output_dir).folder(key)
    if not run.start(asdict(settings), provenance(command), WAIT_SECONDS):
        return key
    tracker: Tracker | None = None
    try:
        tracker = open_tracker(settings.tracker, key, asdict(settings), run.path)
        with Machine(settings.output_dir) as machine:
            pipeline = Pipeline(settings, run, tracker, machine)
            run.finish(pipeline.dense_result() if settings.dense else pipeline.sparse_result())
    except BaseException as error:
        stopped = not isinstance(
            error, Exception
        )  # Ctrl-C, or SystemExit in a worker that is told to end
        run.fail(INTERRUPTED if stopped else f"{type(error).__name__}: {error}".splitlines()[0])
        if tracker:
            tracker.finish("failed")
        raise
    if draw and settings.tracker.kind != "none" and not settings.dense:
        draw(run.path)
    mirror(tracker, run)
    tracker.finish("done")
    return key
