"""Every problem of a run's settings, found before any model is loaded."""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from ffbench.methods.similar_blocks import BLOCKS, CONSECUTIVE, SIMILAR, similar_problem
from ffbench.settings import RunSettings

DTYPES = ("float32", "bfloat16", "float16")
SOURCES = ("gguf_package", "hub", "folder", "tiny")
PROTOCOLS = ("whole", "context")
PROMPT_TOKENS = 64  # the least room for a prompt and its chat template beside the answer
GROUP_SIZES = (1, 8, 16, 32, 64)


def unknown(key: str, value: str, valid: Iterable[str]) -> list[str]:
    """One problem when `value` is not among the valid names, with the nearest one."""
    names = sorted(valid)
    if value in names:
        return []
    near = get_close_matches(value, names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return [f"{key}: {value!r} is unknown{hint} Valid: {', '.join(names)}"]


def at_least(key: str, value: int, least: int) -> list[str]:
    """One problem when a count is below `least`."""
    return [] if value >= least else [f"{key}: {value} is too small; choose {least} or more"]


def folder_problems(output_dir: str) -> list[str]:
    """One problem where the output folder cannot be written."""
    if not output_dir.strip():
        return ["output_dir: empty; give a folder"]
    path = Path(output_dir).absolute()
    while not path.exists():
        path = path.parent
    if not path.is_dir():
        return [f"output_dir: {path} is a file; give a folder"]
    return (
        []
        if os.access(path, os.W_OK)
        else [f"output_dir: {path} cannot be written; choose another folder"]
    )


def token_rule_problems(settings: RunSettings) -> list[str]:
    """What a per-token rule cannot be combined with."""
    from ffbench.methods.selectors import SELECTORS

    s, rule = settings, SELECTORS.get(settings.selector.name)
    if rule is None or rule.block_wise:
        return []
    name, found = f"selector {rule.name!r} works token by token", []
    if s.selector.hot_fraction:
        found.append(f"selector.hot_fraction: {s.selector.hot_fraction}, but {name}; choose 0")
    if s.group_size != 1:
        found.append(f"group_size: {s.group_size}, but {name}; choose 1")
    if s.blocks == SIMILAR:
        found.append(f"blocks: {s.blocks!r}, but {name}; choose {CONSECUTIVE}")
    if s.compensator.name in ("surrogate_map", "surrogate_tuned", "rsparse"):
        found.append(
            f"compensator: {s.compensator.name!r} is made for blocks, but {name}; choose none, bias or surrogate"
        )
    elif rule.skips_inputs and s.compensator.name != "none":
        found.append(
            f"compensator: {s.compensator.name!r} makes up for neurons, but {name} and skips inputs of the "
            "matrices; choose none"
        )
    return found


def block_problems(settings: RunSettings) -> list[str]:
    """What blocks of similar tokens cannot be combined with."""
    s, found = settings, unknown("blocks", settings.blocks, BLOCKS)
    problem = similar_problem(s.selector.name, s.compensator.name) if s.blocks == SIMILAR else None
    return found + ([f"blocks: {problem}"] if problem else [])


def text_problems(settings: RunSettings) -> list[str]:
    """Why the calibration text cannot be used, before any model is loaded."""
    from ffbench.data.user_text import TextError, own_documents

    c = settings.calibration
    if not c.folder:
        return []
    try:
        size = sum(len(text.encode()) for text in own_documents(c.folder).values())
    except TextError as error:
        return [str(error)]
    if size >= c.window:
        return []
    return [
        f"calibration.folder: {c.folder} holds {size} bytes of text, too little for one window of {c.window} tokens"
    ]


def problems(settings: RunSettings) -> list[str]:
    """One sentence a problem; empty when the run can start."""
    from ffbench.methods.schedulers import SCHEDULERS
    from ffbench.methods.selectors import SELECTORS
    from ffbench.tasks.registry import get_spec, task_names
    from ffbench.training.layer_fit import COMPENSATORS
    from ffkernels.backends import MODULES

    s = settings
    found = unknown("model.source", s.model.source, SOURCES) + unknown(
        "model.dtype", s.model.dtype, DTYPES
    )
    found += unknown("selector.name", s.selector.name, SELECTORS)
    found += token_rule_problems(s) + block_problems(s) + text_problems(s)
    found += unknown("compensator.name", s.compensator.name, COMPENSATORS)
    found += unknown("scheduler.name", s.scheduler.name, SCHEDULERS)
    found += unknown("task.protocol", s.task.protocol, PROTOCOLS)
    names = task_names()
    for task in s.task.tasks:
        found += unknown("task.tasks", task, names)
        if task in names:
            least = get_spec(task).max_new_tokens + PROMPT_TOKENS
            found += at_least(f"task.max_length ({task})", s.task.max_length, least)
    found += unknown("kernel.backend", s.kernel.backend, ("auto", *MODULES))
    if not 0 <= s.sparsity < 1:
        found.append(
            f"sparsity: {s.sparsity} is outside 0 <= sparsity < 1 (the share of neurons skipped)"
        )
    if not 0 <= s.selector.hot_fraction <= 1:
        found.append(f"selector.hot_fraction: {s.selector.hot_fraction} is outside 0 to 1")
    for field, value, users in (
        ("tune_steps", s.compensator.tune_steps, ("surrogate_tuned",)),
        ("map_rank", s.compensator.map_rank, ("surrogate_map",)),
    ):
        if s.compensator.name in users and value < 1:
            found.append(
                f"compensator.{field}: {value} is too small for {s.compensator.name!r}; choose 1 or more"
            )
        elif value and s.compensator.name not in ("surrogate_tuned", *users):
            found.append(
                f"compensator.{field}: {value} with compensator {s.compensator.name!r}; choose 0, or "
                f"compensator={users[0]}"
            )
    if s.group_size not in GROUP_SIZES:
        found.append(f"group_size: {s.group_size} is not one of {', '.join(map(str, GROUP_SIZES))}")
    found += at_least("block_size", s.block_size, 1) + at_least(
        "compensator.rank", s.compensator.rank, 1
    )
    found += at_least("task.max_length", s.task.max_length, 64) + at_least(
        "speed.rounds", s.speed.rounds, 0
    )
    found += at_least("kernel.threads", s.kernel.threads, 0) + at_least(
        "fidelity.windows", s.fidelity.windows, 0
    )
    found += at_least("calibration.window", s.calibration.window, 2 * max(s.block_size, 1))
    found += at_least("calibration.tokens", s.calibration.tokens, max(s.calibration.window, 1))
    found += at_least("task.batch_size", s.task.batch_size, 1) + at_least("seed", s.seed, 0)
    if not s.speed.lengths:
        found.append(
            "speed.lengths: empty; give at least one prompt length, or speed.rounds=0 to leave speed out"
        )
    for length in s.speed.lengths:
        found += at_least("speed.lengths", length, 1)
    found += folder_problems(s.output_dir)
    if s.fidelity.windows:
        found += at_least("fidelity.window", s.fidelity.window, 2 * max(s.block_size, 1))
    if s.task.limit is not None:
        found += at_least("task.limit", s.task.limit, 1)
    return found + s.tracker.problems()
