"""Identity of a run and of its parts: everything that changes a result, nothing else
(docs/result-schema.md).
"""

import hashlib
import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from ffbench.data.chunks import PIECE
from ffbench.data.embedded_text import data_hash
from ffbench.data.user_text import own_hash
from ffbench.methods.plan import PlanSettings
from ffbench.models.loading import ModelSpec, weight_files
from ffbench.runs.identity import content_key, file_hash
from ffbench.settings import RunSettings
from ffbench.tasks.base import TaskRecord, TaskSpec
from ffbench.tasks.registry import get_spec

PROMPT_VERSION = 3
EMBEDDED = "embedded"
RECORD_CHOICE = "even_by_length"  # ffbench.tasks.registry.choose_evenly


def model_spec(settings: RunSettings) -> ModelSpec:
    """The model's part of the settings."""
    return ModelSpec(**asdict(settings.model))


def model_identity(settings: RunSettings) -> dict[str, Any]:
    """What names the weights: file hashes where there are files, else the source and its
    revision.
    """
    m = settings.model
    remembered = Path(settings.output_dir) / "file_hashes.json"
    files = [file_hash(path, remembered) for path in weight_files(model_spec(settings))]
    named = (
        {"weights": files}
        if files
        else {"source": m.source, "location": m.location, "revision": m.revision}
    )
    return {"name": m.name, "dtype": m.dtype} | named


def fingerprint(settings: RunSettings) -> dict[str, str]:
    """What a plan remembers of its model."""
    return {"model": content_key(model_identity(settings))}


def plan_settings(settings: RunSettings) -> PlanSettings:
    """The plan's part of the settings."""
    s = settings
    return PlanSettings(
        s.selector.name,
        s.compensator.name,
        s.scheduler.name,
        s.block_size,
        float(s.sparsity),
        s.selector.hot_fraction,
        s.compensator.rank,
        s.dense_first,
        s.dense_last,
        s.seed,
        s.compensator.tune_steps,
        s.group_size,
        s.compensator.map_rank,
        s.blocks,
    )


def work_of(settings: RunSettings) -> list[tuple[TaskSpec, list[TaskRecord]]]:
    """Tasks with the records that are scored."""
    specs = [get_spec(name) for name in settings.task.tasks]
    return [(spec, spec.records(settings.task.limit, settings.task.data_dir)) for spec in specs]


@lru_cache(maxsize=64)
def prompts_text(
    name: str, max_new_tokens: int, stop: str, chat: bool, records: tuple[TaskRecord, ...]
) -> str:
    """One task's rules and prompts as JSON."""
    return json.dumps(
        [
            name,
            max_new_tokens,
            stop,
            chat,
            [
                [r.record_id, r.context, r.question, r.answers, r.all_classes, r.length]
                for r in records
            ],
        ]
    )


def scored(settings: RunSettings) -> dict[str, Any]:
    """Identity of the scored prompts."""
    rows = [
        prompts_text(spec.name, spec.max_new_tokens, spec.stop, spec.chat, tuple(records))
        for spec, records in work_of(settings)
    ]
    return {
        "prompts": hashlib.sha256(f"[{', '.join(rows)}]".encode()).hexdigest(),
        "max_length": settings.task.max_length,
        "batch_size": settings.task.batch_size,
        "prompt_version": PROMPT_VERSION,
        "record_choice": RECORD_CHOICE,
    }


def answers_key(settings: RunSettings) -> str:
    """Key of the dense answers, shared by every run of a model on the same prompts."""
    return content_key({"model": model_identity(settings), "task": scored(settings)})


def calibration(settings: RunSettings) -> dict[str, Any]:
    """How much calibration text; own text is named by what it holds, not by where it lies."""
    c = settings.calibration
    return {"tokens": c.tokens, "window": c.window, "piece": PIECE} | (
        {"text": own_hash(c.folder)} if c.folder else {}
    )


def training_identity(settings: RunSettings) -> dict[str, Any]:
    """What the collected sums depend on besides the plan settings; `data` is the text as it is
    cut.
    """
    named = calibration(settings)
    return {
        "model": model_identity(settings),
        "data": named.get("text", f"{data_hash()}/{PIECE}"),
        "calibration": named,
    }


def heldout_identity(settings: RunSettings) -> dict[str, Any]:
    """What the dense side of fidelity depends on."""
    return {
        "model": model_identity(settings),
        "data": data_hash(),
        "fidelity": asdict(settings.fidelity),
    }


def run_identity(settings: RunSettings) -> dict[str, Any]:
    """Everything that changes a run's result."""
    s = settings
    shared = {
        "model": model_identity(s),
        "task": scored(s),
        "data": data_hash(),
        "sparsity": float(s.sparsity),
    }
    if s.dense:
        return shared
    return shared | {
        "plan": asdict(plan_settings(s)),
        "compensator": asdict(s.compensator),
        "group_size": s.group_size,
        "protocol": s.task.protocol,
        "calibration": calibration(s),
        "fidelity": asdict(s.fidelity),
        "speed": asdict(s.speed),
        "kernel": asdict(s.kernel),
    }


def run_key(settings: RunSettings) -> str:
    """16 hex digits that name the run folder."""
    return content_key(run_identity(settings))
