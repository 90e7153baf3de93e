"""One run from settings to result.json; what is done already is read, not repeated."""

import hashlib
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from ffbench.models.loading import ModelSpec, load_model, weight_files
from ffbench.runs.answers import AnswerLog
from ffbench.runs.cache import StageCache
from ffbench.runs.identity import content_key, file_hash
from ffbench.runs.provenance import collect as provenance
from ffbench.runs.provenance import cpu_name
from ffbench.runs.store import RunFolder, RunStore
from ffbench.settings import RunSettings
from ffbench.sparsity.plan import PlanSettings, SparsePlan
from ffbench.tasks.registry import TaskRecord, TaskSpec, get_spec
from ffbench.tasks.text import KINDS, data_hash, documents

PROMPT_VERSION = 1


def model_spec(settings: RunSettings) -> ModelSpec:
    """The model's part of the settings."""
    return ModelSpec(**asdict(settings.model))


def model_identity(settings: RunSettings) -> dict[str, Any]:
    """What names the weights: file hashes where there are files, else the source and its revision."""
    m = settings.model
    files = [file_hash(path, Path(settings.output_dir) / "file_hashes.json") for path in weight_files(model_spec(settings))]
    named = {"weights": files} if files else {"source": m.source, "location": m.location, "revision": m.revision}
    return {"name": m.name, "dtype": m.dtype} | named


def work_of(settings: RunSettings) -> list[tuple[TaskSpec, list[TaskRecord]]]:
    """Tasks with the records that are scored."""
    specs = [get_spec(name) for name in settings.task.tasks]
    return [(spec, spec.load("test", settings.task.limit)) for spec in specs]


def scored(settings: RunSettings) -> dict[str, Any]:
    """Identity of the scored prompts."""
    text = repr([(spec.name, spec.max_new_tokens, records) for spec, records in work_of(settings)])
    return {"prompts": hashlib.sha256(text.encode()).hexdigest(), "max_length": settings.task.max_length,
            "prompt_version": PROMPT_VERSION}


def identity(settings: RunSettings) -> dict[str, Any]:
    """Everything that changes a run's result."""
    s = settings
    shared = {"model": model_identity(s), "task": scored(s), "data": data_hash(), "sparsity": float(s.sparsity)}
    if s.dense:
        return shared
    return shared | {"plan": asdict(plan_settings(s)), "calibration": asdict(s.calibration),
                     "fidelity": asdict(s.fidelity), "speed": asdict(s.speed), "kernel": asdict(s.kernel)}


def plan_settings(settings: RunSettings) -> PlanSettings:
    """The plan's part of the settings."""
    s = settings
    return PlanSettings(s.selector.name, s.compensator.name, s.scheduler.name, s.block_size, float(s.sparsity),
                        s.selector.hot_fraction, s.compensator.rank, s.dense_first, s.dense_last, s.seed)


@lru_cache(maxsize=1)
def loaded(spec: ModelSpec) -> tuple[Any, Any]:
    """Model and tokenizer, kept for the next run of a sweep."""
    return load_model(spec)


def text_windows(tokenizer: Any, part: str, tokens: int, length: int) -> dict[str, Any]:
    """Windows [n, length] of each text kind, `tokens` tokens a kind."""
    from ffbench.stages.collect import windows

    return {kind: windows(tokenizer, documents(kind, part).values(), tokens, length) for kind in KINDS}


def make_plan(settings: RunSettings, model: Any, tokenizer: Any, cache: StageCache) -> SparsePlan:
    """The trained plan of a sparse run."""
    import torch

    from ffbench.stages.train import train_plan

    c, model_id = settings.calibration, model_identity(settings)
    half = max(c.tokens // 2, c.window)
    texts = text_windows(tokenizer, "calibration", half, c.window)
    base = {"model": model_id, "data": data_hash(), "calibration": asdict(c)}
    return train_plan(model, plan_settings(settings), torch.cat(list(texts.values())), base,
                      lambda stage, key, make: cache.get_or_make(stage, content_key(key), make),
                      {"model": content_key(model_id)})


def dense_answers(settings: RunSettings, model: Any, tokenizer: Any, cache: StageCache) -> list[dict[str, Any]]:
    """Dense answers, computed once a model and set of prompts."""
    from ffbench.stages.evaluate import evaluate

    key = content_key({"model": model_identity(settings), "task": scored(settings)})
    folder = cache.get_or_make("answers", key, lambda path: evaluate(
        model, tokenizer, None, work_of(settings), AnswerLog(path / "answers.jsonl"), settings.task.max_length)
        and None, resumable=True)
    return AnswerLog(folder / "answers.jsonl").read()


def fidelity_of(settings: RunSettings, model: Any, tokenizer: Any, plan: SparsePlan) -> dict[str, Any]:
    """Means of the fidelity figures over the held-out windows of each text and over all."""
    from ffbench.stages.fidelity import fidelity

    f = settings.fidelity
    if not f.windows:
        return {}
    found = {}
    for kind, batch in text_windows(tokenizer, "heldout", f.windows * f.window, f.window).items():
        rows = [fidelity(model, plan, window, settings.kernel.backend) for window in batch]
        found[kind] = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        found[kind] |= {"windows": len(rows), "window_tokens": f.window}
    found["mean"] = {name: sum(found[kind][name] for kind in KINDS) / len(KINDS) for name in found[KINDS[0]]}
    return found


def speed_of(settings: RunSettings, model: Any, plan: SparsePlan) -> dict[str, Any] | None:
    """FFN and TTFT speedups with their conditions; None where speed is left out."""
    import torch

    from ffbench.stages.speed import measure_ffn, measure_ttft

    s, threads = settings.speed, settings.kernel.threads or torch.get_num_threads()
    if not s.rounds:
        return None
    backend = settings.kernel.backend
    return {"ffn": measure_ffn(model, plan, s.lengths[0], s.rounds, threads, backend),
            "ttft": measure_ttft(model, plan, s.lengths, s.rounds, threads, backend),
            "threads": threads, "cpu": cpu_name(), "backend": backend}


def measure(settings: RunSettings, run_key: str, run: RunFolder) -> dict[str, Any]:
    """Every figure of one run, as docs/result-schema.md states them."""
    from ffbench.stages.evaluate import evaluate, task_figures

    s = settings
    model, tokenizer = loaded(model_spec(s))
    cache, work = StageCache(s.output_dir), work_of(s)
    dense = dense_answers(s, model, tokenizer, cache) if work else []
    head = {"schema_version": 1, "run_key": run_key, "model": s.model.name, "dtype": s.model.dtype,
            "sparsity": float(s.sparsity), "task": s.task.name, "protocol": s.task.protocol}
    if s.dense:
        return head | dict.fromkeys(("selector", "compensator", "scheduler"), "dense") | dict.fromkeys((
            "block_size", "fidelity", "speed", "density_used", "recall_at_k", "retained_energy", "layers",
            "flops")) | task_figures(dense, dense, work)
    plan = make_plan(s, model, tokenizer, cache)
    plan.save(run.path / "plan")
    sparse = evaluate(model, tokenizer, plan, work, AnswerLog(run.path / "answers.jsonl"), s.task.max_length,
                      s.kernel.backend) if work else []
    fidelity = fidelity_of(s, model, tokenizer, plan)
    return head | {"selector": s.selector.name, "compensator": s.compensator.name, "scheduler": s.scheduler.name,
                   "block_size": s.block_size, "hot_fraction": s.selector.hot_fraction, "rank": s.compensator.rank,
                   "group_size": s.group_size, "fidelity": fidelity,
                   "density_used": fidelity.get("mean", {}).get("density_used"),
                   "speed": speed_of(s, model, plan), "recall_at_k": None, "retained_energy": None, "layers": None,
                   "flops": None} | task_figures(dense, sparse, work)


def execute(settings: RunSettings, command: list[str]) -> str:
    """Do one run unless it is done; returns its key. A failure is written into the run folder and raised."""
    run_key = content_key(identity(settings))
    run = RunStore(settings.output_dir).folder(run_key)
    if not run.start(asdict(settings), provenance(command)):
        return run_key
    try:
        run.finish(measure(settings, run_key, run))
    except BaseException as error:
        run.fail(f"{type(error).__name__}: {error}".splitlines()[0])
        raise
    return run_key
