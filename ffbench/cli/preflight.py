"""What is wrong with the jobs of a command line together, and with their models, before any "
"work.
"""

from pathlib import Path
from typing import Any

from ffbench.cli.compose import Job
from ffbench.experiment.lengths import used_lengths
from ffbench.settings import RunSettings


def folder_problems(jobs: list[Job]) -> list[str]:
    """Several output folders: one sweep's runs, table and status are in one folder."""
    folders = list(dict.fromkeys(str(Path(job.settings.output_dir)) for job in jobs))
    if len(folders) < 2:
        return []
    return [
        f"output_dir: the jobs of one command share one folder, received {', '.join(folders)}; "
        "runs "
        "are told apart by their keys: give one output_dir, or start one command per folder"
    ]


def model_problems(settings: RunSettings) -> list[str]:
    """What files and config.json tell against a model and its settings; reads no weights."""
    from ffbench.experiment.identity import model_spec
    from ffbench.models.checkpoint import tokenizer_problem
    from ffbench.models.checks import config_problems, group_problems, position_problems
    from ffbench.models.damage import damage
    from ffbench.models.device import device_problem
    from ffbench.models.errors import ModelError
    from ffbench.models.loading import local_config, weight_files

    try:
        spec = model_spec(settings)
        files = weight_files(spec)
        config = local_config(spec)
    except ModelError as error:
        return [str(error)]
    problems: list[Any] = [device_problem(spec.device)]
    if config is not None:
        if spec.source == "folder":
            problems.append(tokenizer_problem(Path(spec.location)))
        problems += config_problems(config)
        problems += group_problems(config, settings.group_size)
        problems += position_problems(config, used_lengths(settings))
    return [problem for problem in problems if problem] or damage(files)


def job_problems(jobs: list[Job]) -> list[str]:
    """Every problem of the jobs, once."""
    from ffbench.validation import problems

    found = [problem for job in jobs for problem in problems(job.settings)]
    found += folder_problems(jobs)
    if not found:
        found += [problem for job in jobs for problem in model_problems(job.settings)]
    return list(dict.fromkeys(found))
