"""A W&B sweep file without a server: its problems, and its grid or random search as lists of Hydra
overrides.
"""

import itertools
import math
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffbench.runs.files import disk_errors
from ffbench.tracking.early_terminate import (
    EarlyTerminate,
    early_terminate_of,
    early_terminate_problems,
)

METHODS = ("grid", "random", "bayes")
GOALS = ("minimize", "maximize")
SPEC_KEYS = {"value", "values", "probabilities", "distribution", "min", "max", "mu", "sigma", "q"}
ARGUMENTS = "${args_no_hyphens}"
DEFAULT_RUNS = 20
PLAIN = re.compile(r"[A-Za-z0-9_.+\-/]+")

Spec = Mapping[str, Any]


class SweepError(ValueError):
    """A sweep file cannot be used; the text lists every problem."""


@dataclass(frozen=True)
class LocalSweep:
    """A sweep file: `fixed` overrides of its command, then one specification per parameter.

    `metric` and `goal` are what method bayes searches for.
    """

    name: str
    method: str
    fixed: tuple[str, ...]
    parameters: dict[str, Spec]
    run_cap: int | None
    metric: str | None = None
    goal: str = "minimize"
    early_terminate: EarlyTerminate | None = None

    def jobs(self, count: int | None = None, seed: int = 0) -> list[list[str]]:
        """Overrides of every job: `count` of the grid or random trials; without it the file's
        run_cap, else the whole grid or 20 trials.

        The same seed gives the same trials; a longer list begins with the shorter one.
        """
        if self.method == "grid":
            trials = itertools.islice(grid_trials(self.parameters), count or self.run_cap)
        else:
            trials = itertools.islice(
                random_trials(self.parameters, seed), count or self.run_cap or DEFAULT_RUNS
            )
        return [
            [*self.fixed, *(f"{name}={text(value)}" for name, value in trial.items())]
            for trial in trials
        ]


def load_local_sweep(path: str | Path) -> LocalSweep:
    """Read a W&B sweep file for a local run.

    Raises:
        SweepError: what is wrong or needs the W&B server, all problems at once.
        StoreError: the file cannot be read.

    """
    import yaml

    path = Path(path)
    with disk_errors("read sweep file", path):
        source = path.read_bytes()
    try:
        raw = yaml.safe_load(source.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SweepError(f"{path} is not UTF-8 text ({error.reason}); convert it") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SweepError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise SweepError(
            f"{path} is not a sweep file: it needs `method`, `command` and `parameters`"
        )
    problems = list(sweep_problems(raw))
    if problems:
        raise SweepError("\n".join(f"{path}: {problem}" for problem in problems))
    command = raw["command"]
    after = command[command.index("ffbench") + 1 :]
    fixed = tuple(override for override in after if override != ARGUMENTS)
    metric = raw.get("metric") or {}
    return LocalSweep(
        path.stem,
        raw["method"],
        fixed,
        raw["parameters"],
        raw.get("run_cap"),
        metric.get("name"),
        metric.get("goal", "minimize"),
        early_terminate_of(raw.get("early_terminate")),
    )


def sweep_problems(raw: dict[str, Any]) -> Iterator[str]:
    """Every reason why a sweep file cannot run locally, one sentence each."""
    method = raw.get("method")
    if method not in METHODS:
        yield f"method is {method!r}; choose one of {', '.join(METHODS)}"
    metric = raw.get("metric")
    if metric is not None or method == "bayes":
        yield from metric_problems(metric)
    name = metric.get("name") if isinstance(metric, dict) else None
    yield from early_terminate_problems(raw.get("early_terminate"), str(method), name)
    command = raw.get("command")
    if not isinstance(command, list) or "ffbench" not in command or ARGUMENTS not in command:
        yield f"command must be a list that runs `-m ffbench` and holds {ARGUMENTS}"
    elif other := [word for word in command if not isinstance(word, str)]:
        yield f"command holds {other[0]!r}, which is not text; quote it"
    cap = raw.get("run_cap")
    if cap is not None and (not isinstance(cap, int) or cap < 1):
        yield f"run_cap is {cap!r}; it must be a whole number of at least 1"
    parameters = raw.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        yield "parameters is missing; give at least one, e.g. sparsity: {values: [0.3, 0.5]}"
        return
    for name, spec in parameters.items():
        if not isinstance(name, str):
            yield f"parameters.{name}: not a setting; names are text"
            continue
        problem = spec_problem(spec, str(method))
        if problem:
            yield f"parameters.{name}: {problem}"


def metric_problems(metric: Any) -> Iterator[str]:
    """Why the metric cannot be searched for."""
    if not isinstance(metric, dict) or not isinstance(metric.get("name"), str):
        yield "metric is missing; give for example metric: {name: objective, goal: minimize}"
    elif metric.get("goal", "minimize") not in GOALS:
        yield f"metric.goal is {metric['goal']!r}; choose one of {', '.join(GOALS)}"


def spec_problem(spec: Any, method: str) -> str | None:
    """Why one parameter's specification cannot be expanded; None if it can."""
    if not isinstance(spec, dict):
        return "give a mapping with value, values, or min and max"
    if "parameters" in spec:
        return "nested parameters are not supported; write the name with dots, e.g. model.dtype"
    unknown = sorted(map(str, set(spec) - SPEC_KEYS))
    if unknown:
        return f"unknown key {unknown[0]!r}; known are {', '.join(sorted(SPEC_KEYS))}"
    if method == "bayes" and "probabilities" in spec:
        return "probabilities need method random; bayes learns them"
    if "value" in spec or "values" in spec:
        return values_problem(spec)
    if method == "grid":
        return "a grid needs value or values"
    if method == "bayes" and spec.get("distribution") == "normal":
        return "normal has no bounds to search in; give uniform with min and max"
    step = spec.get("q", 1)
    if not _number(step) or step <= 0:
        return f"q is {step!r}; give a number above 0"
    try:
        sampler(spec)
    except SweepError as error:
        return str(error)
    return None


def values_problem(spec: Spec) -> str | None:
    """Why a list of values cannot be used; None if it can."""
    values = spec.get("values", [spec.get("value")])
    if not isinstance(values, list) or not values:
        return "values must be a list with at least one entry"
    for value in values:
        if not can_be_spelled(value):
            return (
                f"{value!r} has no spelling as an override; use text, a number, true, false, null "
                "or a list of these"
            )
    weights = spec.get("probabilities")
    if weights is None or is_distribution(weights, len(values)):
        return None
    return f"probabilities must be {len(values)} numbers of at least 0 that sum to 1"


def is_distribution(weights: Any, count: int) -> bool:
    """Whether a value is a list of `count` probabilities."""
    if not isinstance(weights, list) or len(weights) != count:
        return False
    return all(_number(w) and w >= 0 for w in weights) and abs(sum(weights) - 1) <= 1e-6


def can_be_spelled(value: Any) -> bool:
    """Whether a value of a sweep file can be an override."""
    if isinstance(value, list):
        return all(can_be_spelled(entry) for entry in value)
    return value is None or (isinstance(value, (bool, int, float, str)) and value != "")


def text(value: Any) -> str:
    """Spelling of a value on Hydra's command line: null, lists, and text quoted if it needs to be.

    The W&B agent spells None and lists as Python does; the command line takes that too.
    """
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(map(text, value))}]"
    if isinstance(value, str) and not PLAIN.fullmatch(value):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(value)


def grid_trials(parameters: Mapping[str, Spec]) -> Iterator[dict[str, Any]]:
    """Every combination; the last parameter changes first."""
    choices = [spec.get("values", [spec.get("value")]) for spec in parameters.values()]
    for values in itertools.product(*choices):
        yield dict(zip(parameters, values, strict=True))


def random_trials(parameters: Mapping[str, Spec], seed: int) -> Iterator[dict[str, Any]]:
    """Endless random trials."""
    source = random.Random(seed)
    samplers = {name: sampler(spec) for name, spec in parameters.items()}
    while True:
        yield {name: sample(source) for name, sample in samplers.items()}


def distribution_of(spec: Spec) -> str:
    """The distribution of a specification with bounds: int_uniform if both are whole numbers."""
    whole = isinstance(spec.get("min"), int) and isinstance(spec.get("max"), int)
    return str(spec.get("distribution") or ("int_uniform" if whole else "uniform"))


def sampler(spec: Spec) -> Callable[[random.Random], Any]:
    """Draws one value of a specification; W&B's names of distributions.

    Raises:
        SweepError: an unknown distribution, or bounds that are missing or the wrong way round.

    """
    if "value" in spec:
        return lambda source: spec["value"]
    if "values" in spec:
        return lambda source: source.choices(spec["values"], spec.get("probabilities"))[0]
    low: Any = spec.get("min")
    high: Any = spec.get("max")
    kind = distribution_of(spec)
    if kind == "normal":
        mean, deviation = spec.get("mu", 0.0), spec.get("sigma", 1.0)
        if not _number(mean) or not _number(deviation):
            raise SweepError(f"normal needs numbers, not mu={mean!r}, sigma={deviation!r}")
        return lambda source: source.gauss(mean, deviation)
    if not _number(low) or not _number(high) or low >= high:
        raise SweepError(f"{kind} needs numbers min < max, not min={low!r}, max={high!r}")
    step = spec.get("q", 1)
    if not _number(step) or step <= 0:
        raise SweepError(f"q is {step!r}; it must be a number above 0")
    return bounded_sampler(kind, low, high, step)


def bounded_sampler(
    kind: str, low: float, high: float, step: float
) -> Callable[[random.Random], Any]:
    """Draws between `low` and `high`; the q_ kinds round to multiples of `step`."""
    if kind == "int_uniform":
        return lambda source: source.randint(int(low), int(high))
    if kind == "uniform":
        return lambda source: source.uniform(low, high)
    if kind == "q_uniform":
        return lambda source: round(source.uniform(low, high) / step) * step
    if kind in ("log_uniform_values", "q_log_uniform_values"):
        if low <= 0:
            raise SweepError(f"{kind} needs min > 0, not {low!r}")
        bottom, top = math.log(low), math.log(high)
        if kind == "log_uniform_values":
            return lambda source: math.exp(source.uniform(bottom, top))
        return lambda source: round(math.exp(source.uniform(bottom, top)) / step) * step
    raise SweepError(
        f"distribution {kind!r} is not known here; choose int_uniform, uniform, q_uniform, "
        "log_uniform_values, q_log_uniform_values or normal"
    )


def _number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return type(value) in (int, float) and math.isfinite(value)
