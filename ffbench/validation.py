"""Rules between the groups of a run's settings: every problem, found before any model is loaded."""

import math
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from ffbench.evaluation.answers import PROTOCOLS
from ffbench.methods.chosen import make_selector
from ffbench.methods.compensators import COMPENSATORS
from ffbench.methods.plan import PlanSettings, block_problem
from ffbench.methods.registry import MethodError, at_least, one_of
from ffbench.methods.schedulers import SCHEDULERS
from ffbench.methods.similar_blocks import BLOCKS, CONSECUTIVE
from ffbench.methods.token_rules import TokenRule
from ffbench.models.device import AUTO, DTYPES
from ffbench.models.loading import SOURCES
from ffbench.runs.schema import TAILS
from ffbench.settings import FidelitySettings, RunSettings

JUDGED_PARTS = ("heldout", "test")
PROMPT_TOKENS = 64  # the least room for a prompt and its chat template, without the answer
LARGEST_NUMBER = 2**31 - 1  # of tokens, rounds, neurons and seeds: what every library takes
GROUP_SIZES = (1, 8, 16, 32, 64)


def output_problems(output_dir: str) -> list[str]:
    """One problem if the output folder cannot be written."""
    if not output_dir.strip():
        return ["output_dir: empty; give a folder"]
    path = Path(output_dir).absolute()
    while not path.exists():
        path = path.parent
    if not path.is_dir():
        return [f"output_dir: {path} is a file; give a folder"]
    if os.access(path, os.W_OK):
        return []
    return [f"output_dir: {path} is not writable; choose another folder"]


def method_problems(settings: RunSettings) -> list[str]:
    """Methods that are unknown, or whose parameters are not valid."""
    makers: list[tuple[Callable[[Any], Any], dict[str, Any]]] = [
        (make_selector, settings.selector),
        (COMPENSATORS.make, settings.compensator),
        (SCHEDULERS.make, settings.scheduler),
    ]
    problems: list[str] = []
    for make, node in makers:
        try:
            make(node)
        except MethodError as error:
            problems += error.problems
    return problems


def token_rule_problems(plan: PlanSettings) -> list[str]:
    """What a token rule cannot be combined with."""
    rule = plan.selector
    if not isinstance(rule, TokenRule):
        return []
    name = f"selector {rule.name!r} works token by token"
    problems = []
    if plan.hot_fraction:
        problems.append(f"hot_fraction: {plan.hot_fraction}, but {name}; set hot_fraction=0")
    if plan.group_size != 1:
        problems.append(f"group_size: {plan.group_size}, but {name}; set group_size=1")
    if plan.blocks != CONSECUTIVE:
        problems.append(f"blocks: {plan.blocks!r}, but {name}; choose {CONSECUTIVE}")
    compensator = plan.compensator
    refined = any(vars(compensator.refinements()).values())
    if refined or not compensator.for_token_rules:
        problems.append(
            f"compensator: {compensator.name!r} with an output map, tuning or low-rank weights "
            f"works with block-wise selectors only; {name}. Use compensator=none, bias or a plain "
            "surrogate"
        )
    elif rule.skips_inputs and compensator.compensates:
        problems.append(
            f"compensator: {compensator.name!r} makes up for skipped neurons, but {name} and skips "
            "inputs of the matrices; use compensator=none"
        )
    return problems


def revision_problems(settings: RunSettings) -> list[str]:
    """A revision of a model that has none: it would be ignored."""
    m = settings.model
    if m.revision is None or m.source == "hub" or m.source not in SOURCES:
        return []
    return [
        f"model.revision: {m.revision!r} is for models of the hub, and model.source is "
        f"{m.source!r}; set model.revision=null"
    ]


def plan_problems(settings: RunSettings) -> list[str]:
    """Problems of the methods, and of the methods together."""
    problems = method_problems(settings)
    problems += one_of("blocks", settings.blocks, BLOCKS)
    if settings.group_size not in GROUP_SIZES:
        valid = ", ".join(map(str, GROUP_SIZES))
        problems.append(f"group_size: {settings.group_size} is not one of {valid}")
    if problems:
        return problems
    from ffbench.experiment.identity import plan_settings

    plan = plan_settings(settings)
    problem = block_problem(plan)
    rules = token_rule_problems(plan) + kernel_problems(settings, plan)
    return rules + ([f"blocks: {problem}"] if problem else [])


def kernel_problems(settings: RunSettings, plan: PlanSettings) -> list[str]:
    """A kernel that does not go with the plan."""
    from ffbench.models.kernel_names import INT8

    if settings.kernel.backend != INT8 or not isinstance(plan.selector, TokenRule):
        return []
    return [
        f"kernel.backend: {INT8} does not go with {plan.selector.name}, which is computed with the "
        "model's own weights; choose another selector or kernel"
    ]


def text_problems(settings: RunSettings) -> list[str]:
    """Why the calibration text cannot be used."""
    from ffbench.data.user_text import TextError, user_documents

    c = settings.calibration
    if not c.folder:
        return []
    try:
        size = sum(len(text.encode()) for text in user_documents(c.folder).values())
    except TextError as error:
        return [str(error)]
    if size >= c.window:
        return []
    return [
        f"calibration.folder: {c.folder} holds {size} bytes of text, too few for one window of "
        f"{c.window} tokens"
    ]


def task_problems(settings: RunSettings) -> list[str]:
    """Problems of the scored tasks."""
    from ffbench.tasks.base import TASKS
    from ffbench.tasks.json_lines import definition_problems
    from ffbench.tasks.registry import get_spec, task_names

    task, names = settings.task, tuple(task_names(settings.task.json_lines))
    problems = one_of("task.protocol", task.protocol, PROTOCOLS)
    defined_badly = definition_problems(task.json_lines, TASKS)
    problems += defined_badly
    for name in task.tasks:
        problems += one_of("task.tasks", name, names)
        if name in names and not (defined_badly and name in task.json_lines):
            least = get_spec(name, task.json_lines).max_new_tokens + PROMPT_TOKENS
            problems += at_least(f"task.max_length ({name})", task.max_length, least)
    if task.json_lines and not task.tasks:
        problems.append(
            f"task.tasks: empty; name the tasks that are run, of {', '.join(task.json_lines)}"
        )
    problems += at_least("task.seed", task.seed, 0)
    problems += at_least("task.max_length", task.max_length, PROMPT_TOKENS)
    problems += at_least("task.batch_size", task.batch_size, 1)
    if task.limit is not None:
        problems += at_least("task.limit", task.limit, 1)
    return problems


def fidelity_problems(settings: RunSettings) -> list[str]:
    """Problems of the windows that answers are judged on."""
    f: FidelitySettings = settings.fidelity
    problems = at_least("fidelity.windows", f.windows, 0)
    problems += at_least("fidelity.prompt_windows", f.prompt_windows, 0)
    if not f.windows:
        return problems
    problems += one_of("fidelity.part", f.part, JUDGED_PARTS)
    for tail in f.tails:
        problems += one_of("fidelity.tails", tail, TAILS)
    if not f.tails or not f.contexts:
        problems.append(
            "fidelity: no tails or contexts; give at least one of each, or set fidelity.windows=0"
        )
    least = settings.first_dense + settings.last_dense + settings.block_size
    for context in f.contexts:
        problems += at_least("fidelity.contexts", context, least)
    # 16 predictions of a copied passage are left out, and one has to remain
    return problems + at_least("fidelity.tail", f.tail, 32)


def wide_shape_problems(shape: str | None) -> list[str]:
    """One problem if a shape has no sizes here."""
    if shape is None:
        return []
    from ffbench.models.shapes import SHAPES

    return one_of("speed.wide_shape", shape, tuple(SHAPES))


def size_problems(settings: RunSettings) -> list[str]:
    """Numbers outside their ranges."""
    s = settings
    problems = []
    if not 0 <= s.sparsity < 1:
        problems.append(
            f"sparsity: {s.sparsity} is outside 0 <= sparsity < 1 (the share of neurons skipped)"
        )
    if not 0 <= s.hot_fraction <= 1:
        problems.append(f"hot_fraction: {s.hot_fraction} is outside 0 to 1")
    problems += at_least("block_size", s.block_size, 1) + at_least("seed", s.seed, 0)
    problems += at_least("first_dense", s.first_dense, 0)
    problems += at_least("last_dense", s.last_dense, 0)
    problems += at_least("kernel.threads", s.kernel.threads, 0)
    problems += at_least("calibration.window", s.calibration.window, 2 * max(s.block_size, 1))
    problems += at_least("calibration.tokens", s.calibration.tokens, max(s.calibration.window, 1))
    problems += at_least("speed.rounds", s.speed.rounds, 0)
    problems += at_least("speed.processes", s.speed.processes, 1)
    problems += wide_shape_problems(s.speed.wide_shape)
    if not s.speed.lengths:
        problems.append(
            "speed.lengths: empty; give at least one prompt length, or speed.rounds=0 to leave "
            "speed out"
        )
    for length in s.speed.lengths:
        problems += at_least("speed.lengths", length, 1)
    return problems


def repeated_problems(settings: RunSettings) -> list[str]:
    """Lists that hold a value twice: its measurements would count double, in narrower intervals."""
    s = settings
    lists: dict[str, list[Any]] = {
        "task.tasks": s.task.tasks,
        "fidelity.contexts": s.fidelity.contexts,
        "fidelity.tails": s.fidelity.tails,
        "speed.lengths": s.speed.lengths,
    }
    return [
        f"{name}: {value} is given {count} times; give it once"
        for name, values in lists.items()
        for value, count in Counter(values).items()
        if count > 1
    ]


def number_problems(settings: Any, prefix: str = "") -> dict[str, str]:
    """Setting -> what is wrong with it, for numbers that are not finite or that no library takes.

    `settings` is a dataclass or a mapping of settings, or a single value called `prefix`.
    """
    if is_dataclass(settings) or isinstance(settings, dict):
        values = settings if isinstance(settings, dict) else vars(settings)
        found: dict[str, str] = {}
        for name, value in values.items():
            found |= number_problems(value, f"{prefix}.{name}" if prefix else str(name))
        return found
    for value in settings if isinstance(settings, list) else [settings]:
        if isinstance(value, float) and not math.isfinite(value):
            return {prefix: f"{prefix}: {value} is not a finite number"}
        if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
            return {prefix: f"{prefix}: {value} is too large; choose {LARGEST_NUMBER} or less"}
    return {}


def problems(settings: RunSettings) -> list[str]:
    """One sentence per problem; empty if the run can start."""
    numbers = number_problems(settings)
    others = [line for line in rule_problems(settings) if line.partition(":")[0] not in numbers]
    return [*numbers.values(), *others]


def rule_problems(settings: RunSettings) -> list[str]:
    """One sentence per setting that is outside its range or does not go with another one."""
    from ffbench.models.kernel_names import NAMES

    s = settings
    return [
        *one_of("model.source", s.model.source, SOURCES),
        *revision_problems(s),
        *one_of("model.dtype", s.model.dtype, (AUTO, *DTYPES)),
        *plan_problems(s),
        *s.objective.problems(),
        *text_problems(s),
        *task_problems(s),
        *one_of("kernel.backend", s.kernel.backend, NAMES),
        *size_problems(s),
        *repeated_problems(s),
        *fidelity_problems(s),
        *output_problems(s.output_dir),
        *s.tracker.problems(),
    ]
