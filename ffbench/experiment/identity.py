"""What names a model, its text and its prompts: everything that changes a result, nothing else."""

import hashlib
import json
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ffbench.data.chunks import CHUNK_CHARACTERS
from ffbench.data.embedded_text import data_hash
from ffbench.data.user_text import StampedFiles, user_text_hash
from ffbench.methods.chosen import make_selector
from ffbench.methods.compensators import COMPENSATORS
from ffbench.methods.plan import PlanSettings
from ffbench.methods.schedulers import SCHEDULERS
from ffbench.models.hub import commit_of
from ffbench.models.loading import ModelSpec, planned_dtype, weight_files
from ffbench.runs.identity import content_key, file_hash
from ffbench.settings import RunSettings
from ffbench.tasks.base import TaskRecord, TaskSpec, Work
from ffbench.tasks.registry import get_spec

EMBEDDED = "embedded"
RECORD_CHOICE = "even_by_length"  # ffbench.tasks.base.choose_evenly


def model_spec(settings: RunSettings) -> ModelSpec:
    """The model's part of the settings; the revision of a hub model is the commit that it is at, as
    far as that is known.
    """
    spec = ModelSpec(**asdict(settings.model))
    if spec.source != "hub":
        return spec
    return replace(spec, revision=commit_of(spec.location, spec.revision) or spec.revision)


def stamped_files(spec: ModelSpec) -> StampedFiles:
    """A local model's files with their times of change (ns). Raises ModelError."""
    return tuple((path, path.stat().st_mtime_ns) for path in weight_files(spec))


def dtype_of(spec: ModelSpec) -> str:
    """`planned_dtype`, asked once until a file of the model changes."""
    return dtype_once(spec, stamped_files(spec))


@lru_cache(maxsize=16)
def dtype_once(spec: ModelSpec, files: StampedFiles) -> str:
    """`dtype_of`, by the model's files with their times of change."""
    return planned_dtype(spec)


def model_identity(settings: RunSettings) -> dict[str, Any]:
    """What names the weights: file hashes if there are files, else the source and its revision,
    which is a commit if it is known.

    The dtype is the one that will be used. The device changes no result beyond rounding and is left
    out.
    """
    m, spec = settings.model, model_spec(settings)
    remembered = Path(settings.output_dir) / "file_hashes.json"
    files = [file_hash(path, remembered) for path in weight_files(spec)]
    source = {"source": m.source, "location": m.location, "revision": spec.revision}
    return {"name": m.name, "dtype": dtype_of(spec)} | ({"weights": files} if files else source)


def fingerprint(settings: RunSettings) -> dict[str, str]:
    """What a plan remembers of its model: the hash of its identity, and its name for messages."""
    return {"model": content_key(model_identity(settings)), "name": settings.model.name}


def plan_settings(settings: RunSettings) -> PlanSettings:
    """The plan's part of the settings. Raises MethodError for a method that is not valid."""
    s = settings
    return PlanSettings(
        selector=make_selector(s.selector),
        compensator=COMPENSATORS.make(s.compensator),
        scheduler=SCHEDULERS.make(s.scheduler),
        block_size=s.block_size,
        sparsity=float(s.sparsity),
        hot_fraction=float(s.hot_fraction),
        group_size=s.group_size,
        blocks=s.blocks,
        first_dense=s.first_dense,
        last_dense=s.last_dense,
        seed=s.seed,
    )


def work_of(settings: RunSettings) -> Work:
    """Tasks with the records that are scored."""
    task = settings.task
    specs = [get_spec(name, task.json_lines) for name in task.tasks]
    return [(spec, spec.records(task.limit, task.data_dir, task.seed)) for spec in specs]


@lru_cache(maxsize=64)
def prompts_text(spec: TaskSpec, records: tuple[TaskRecord, ...]) -> str:
    """One task's rules and prompts as JSON. What most tasks lack is left out, so that their keys
    stay as they were.
    """
    rows = []
    for r in records:
        row: list[Any] = [r.record_id, r.context, r.question, r.answers, r.all_classes, r.length]
        more = [r.answer_prefix, r.gold, r.recipe]
        rows.append(row + (more if any(more) else []))
    rules = [spec.name, spec.max_new_tokens, spec.stop, spec.chat]
    return json.dumps([*rules, rows] + ([spec.definition] if spec.definition else []))


def prompts_identity(settings: RunSettings) -> dict[str, Any]:
    """Identity of the scored prompts."""
    rows = [prompts_text(spec, tuple(records)) for spec, records in work_of(settings)]
    task = settings.task
    return {
        "prompts": hashlib.sha256(f"[{', '.join(rows)}]".encode()).hexdigest(),
        "max_length": task.max_length,
        "batch_size": task.batch_size,
        "decode": task.decode,
        "record_choice": RECORD_CHOICE,
    }


def text_identity(settings: RunSettings) -> dict[str, Any]:
    """The text that plans are fitted on, by what it holds, not by where it is."""
    folder = settings.calibration.folder
    text = user_text_hash(folder) if folder else data_hash()
    return {"text": text, "chunk": CHUNK_CHARACTERS}


def calibration_name(settings: RunSettings) -> str:
    """The calibration text in a result: `embedded`, or the first digits of its hash."""
    folder = settings.calibration.folder
    return user_text_hash(folder)[:16] if folder else EMBEDDED
