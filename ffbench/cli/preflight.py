"""What is wrong with the jobs of a command line and with their models, before any work."""

import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffbench.cli.compose import Job
from ffbench.experiment.lengths import used_lengths
from ffbench.settings import RunSettings

if TYPE_CHECKING:
    from ffbench.models.loading import ModelSpec


def folder_problems(jobs: list[Job]) -> list[str]:
    """Several output folders: one sweep's runs, table and status are in one folder."""
    folders = list(dict.fromkeys(str(Path(job.settings.output_dir)) for job in jobs))
    if len(folders) < 2:
        return []
    return [
        f"output_dir: the jobs of one command share one folder, received {', '.join(folders)}; "
        "runs are told apart by their keys: give one output_dir, or start one command per folder"
    ]


@lru_cache(maxsize=64)
def hub_config(spec: "ModelSpec") -> tuple[dict[str, Any] | None, str | None]:
    """A hub model's configuration, fetched if it is not on this machine, and why it cannot be had.
    Asked once per process.
    """
    from ffbench.models.errors import ModelError
    from ffbench.models.loading import fetched_config, known_config

    try:
        return known_config(spec) or dict(fetched_config(spec).to_dict()), None
    except ModelError as error:
        return None, str(error)


def unavailable(settings: RunSettings) -> str | None:
    """Why the configuration of a hub model cannot be had; None for any other model."""
    from ffbench.experiment.identity import model_spec

    spec = model_spec(settings)
    return hub_config(spec)[1] if spec.source == "hub" else None


def model_problems(settings: RunSettings) -> list[str]:
    """What files and config.json tell against a model and its settings; reads no weights."""
    from ffbench.experiment.identity import model_spec
    from ffbench.experiment.mixtures import mixture_problems
    from ffbench.models.checkpoint import tokenizer_problem
    from ffbench.models.config_checks import config_problems, group_problems, position_problems
    from ffbench.models.damage import damage
    from ffbench.models.device import device_problem
    from ffbench.models.errors import ModelError
    from ffbench.models.experts import SPARSE_MIXTURES
    from ffbench.models.loading import known_config, weight_files

    try:
        spec = model_spec(settings)
        files = weight_files(spec)
        config = None if spec.source == "hub" else known_config(spec)
    except ModelError as error:
        return [str(error)]
    if spec.source == "hub":
        config, problem = hub_config(spec)
        if problem:
            return [problem]
    problems: list[Any] = [device_problem(spec.device) or kernel_problem(settings)]
    problems += width_problems(settings)
    if config is not None:
        if spec.source == "folder":
            problems.append(tokenizer_problem(Path(spec.location)))
        problems += config_problems(config, SPARSE_MIXTURES)
        problems += mixture_problems(settings, config)
        problems += group_problems(config, settings.group_size)
        problems += position_problems(config, used_lengths(settings))
    return [problem for problem in problems if problem] or damage(files)


def width_problems(settings: RunSettings) -> list[str]:
    """Parameters of the compensator that do not fit the model's width, if that is known."""
    from ffbench.experiment.identity import model_spec, plan_settings
    from ffbench.models.sizes import model_sizes

    sizes = None if settings.dense else model_sizes(model_spec(settings))
    if sizes is None or not sizes.ffns:
        return []
    narrowest = min(kind.neurons for kind in sizes.ffns)
    return plan_settings(settings).compensator.size_problems(sizes.hidden, narrowest)


def kernel_problem(settings: RunSettings) -> str | None:
    """Why the kernel that was asked for cannot run here, or None. `auto` always can."""
    import torch

    from ffbench.experiment.identity import dtype_of, model_spec
    from ffbench.models.device import resolve_device
    from ffbench.models.errors import ModelError
    from ffbench.models.kernel_names import kernel_name
    from ffbench.models.loading import DTYPES

    name = settings.kernel.backend
    if name == "auto" or settings.dense:
        return None
    spec = model_spec(settings)
    try:
        device = resolve_device(spec.device)
        kernel_name(name, torch.empty(1, dtype=DTYPES[dtype_of(spec)], device=device))
    except ModelError as error:
        return str(error)
    except ValueError as error:
        reason = str(error).partition(f"received {name!r}: ")[2] or str(error)
        return f"kernel: {name!r} cannot run here: {reason}; use kernel=auto"
    return None


def disk_problems(jobs: Sequence[RunSettings], folder: Path) -> list[str]:
    """Too little space for the plans of `jobs` in `folder`, if the model's sizes are known."""
    from ffbench.experiment.estimates import plan_bytes
    from ffbench.experiment.identity import model_spec
    from ffbench.models.sizes import model_sizes

    needed = 0
    for settings in jobs:
        sizes = None if settings.dense else model_sizes(model_spec(settings))
        if sizes is not None:
            # the fitted layers, which jobs may share, and the plan
            needed += plan_bytes(settings, sizes) * (1 if needed else 2)
    while not folder.exists():
        folder = folder.absolute().parent
    free = shutil.disk_usage(folder).free
    if needed <= free:
        return []
    return [
        f"output_dir: the plans need {needed / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB free; "
        "free space, choose another output_dir, or run fewer jobs"
    ]


def job_problems(jobs: list[Job]) -> list[str]:
    """Every problem of the jobs, once."""
    from ffbench.validation import problems

    found = [problem for job in jobs for problem in problems(job.settings)]
    found += folder_problems(jobs)
    if not found:
        found += [problem for job in jobs for problem in model_problems(job.settings)]
    return list(dict.fromkeys(found))
