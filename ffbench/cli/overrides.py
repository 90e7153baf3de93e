"""What is wrong with single overrides of a command line, each with the nearest valid name."""

from dataclasses import fields, is_dataclass
from typing import Any, get_origin, get_type_hints

from hydra.core.override_parser.types import Glob, Override, QuotedString
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ffbench.cli.launchers.settings import PACKAGES, installed
from ffbench.cli.method_settings import is_parameter, parameter_keys
from ffbench.settings import MISSING, RunSettings
from ffbench.suggestions import nearest, paper_override, suggestion

PACKAGED = ("sweep", "experiment")


def setting_types(kind: type = RunSettings, prefix: str = "") -> dict[str, Any]:
    """Dotted name of every setting -> its type."""
    hints = get_type_hints(kind)
    types: dict[str, Any] = {}
    for field in fields(kind):
        inner = hints[field.name]
        if is_dataclass(inner):
            types |= setting_types(inner, f"{prefix}{field.name}.")  # type: ignore[arg-type]
        else:
            types[prefix + field.name] = inner
    return types


def setting_keys() -> list[str]:
    """Dotted names of every setting."""
    return list(setting_types())


def inside_mapping(key: str) -> bool:
    """Whether a dotted name is inside a setting that is a mapping, such as task.json_lines. Methods
    are not counted: their parameters have known names.
    """
    mappings = [name for name, kind in setting_types().items() if get_origin(kind) is dict]
    return not is_parameter(key) and any(key.startswith(f"{name}.") for name in mappings)


def values_of(override: Override) -> list[Any]:
    """Every value that an override takes, sweeps unrolled."""
    if override.is_sweep_override():
        return list(override.sweep_iterator())
    value = override.value()
    return [value.text if isinstance(value, QuotedString) else value]


def sweep_problems(overrides: list[Override], groups: dict[str, list[str]]) -> list[str]:
    """Sweeps of Hydra's grammar that make no list of values here."""
    problems = []
    for override in overrides:
        name = override.key_or_group
        if override.is_interval_sweep():
            problems.append(
                f"{name}: an interval has no list of values; give values (0.1,0.4) or "
                "range(0.1,0.8,0.1)"
            )
        elif problem := range_problem(override):
            problems.append(problem)
        elif isinstance(override.value(), Glob):
            if name not in groups:
                problems.append(f"{name}: glob() chooses files of a group; give values here")
            elif not override.value().filter(groups[name]):  # type: ignore[union-attr]
                problems.append(
                    f"{name}: glob() matches none of its files. Valid: {', '.join(groups[name])}"
                )
    return problems


def range_problem(override: Override) -> str | None:
    """Why a range gives no values; None if it gives some, or is none."""
    if not override.is_range_sweep():
        return None
    try:
        if next(iter(override.sweep_iterator()), None) is not None:
            return None
        why = "is empty"
    except ValueError as error:
        why = f"has no values ({error})"
    return (
        f"{override.input_line}: the range {why}; write range(FIRST,END,STEP), in which END is "
        "left out"
    )


def group_problems(override: Override, options: list[str]) -> list[str]:
    """Unknown files of a configuration group; a package after @ is Hydra's own matter."""
    group, problems = override.key_or_group, []
    for value in map(str, values_of(override)):
        if value not in options:
            problems.append(
                f"{group}: {value!r} is unknown{suggestion(value, options)} "
                f"Valid: {', '.join(options)}"
            )
    if group in PACKAGED and not override.is_add():
        problems.append(f"{group}: write +{override.input_line} (with a plus sign)")
    return problems


def launcher_problems(overrides: list[Override]) -> list[str]:
    """A launcher whose package is not installed, or several launchers at once."""
    problems = []
    for override in overrides:
        if override.key_or_group != "launcher":
            continue
        names = [str(value) for value in values_of(override)]
        if len(names) > 1:
            problems.append(f"launcher: one at a time, received {', '.join(names)}")
        for name in names:
            if not installed(name):
                package, install = PACKAGES[name]
                problems.append(
                    f"launcher: {name!r} needs {package}, which is not installed: {install}"
                )
    return problems


def form_problem(key: str, value: Any, kind: Any) -> str | None:
    """Why a value has another form than its setting's type hint `kind` asks for: no list, a list of
    lists, or OmegaConf's sign of a missing value, which would leave the default in place.
    """
    if value == MISSING:
        return f"{key}: {MISSING} stands for a value that is missing; give one"
    if get_origin(kind) is not list:
        return None
    if isinstance(value, dict) or value is None:
        return f"{key}: {value} is not a list; write {key}=[VALUE,...]"
    if not isinstance(value, list):
        return f"{key}: {value} is not a list; write {key}=[{value}]"
    for item in value:
        if item is None or isinstance(item, (list, dict)):
            return f"{key}: {item} is not a single value; write {key}=[VALUE,...]"
    if MISSING in value:
        return f"{key}: {MISSING} stands for a value that is missing; give one"
    return None


def value_problems(override: Override, keys: list[str]) -> list[str]:
    """An unknown setting, or values of the wrong type."""
    key, schema, problems = override.key_or_group, OmegaConf.structured(RunSettings), []
    group, _, parameter = key.partition(".")
    if parameter == "name" and is_parameter(key):
        value = values_of(override)[0]
        return [f"{key}: a {group} is chosen by its name alone: {group}={value}"]
    if key not in keys and not inside_mapping(key):
        return [
            f"{key}: no such setting{suggestion(key, keys)} `python -m ffbench --help` lists all"
        ]
    if is_parameter(key):  # typed by the chosen method, which is known later
        return []
    kind = setting_types().get(key)
    for value in values_of(override):
        if problem := form_problem(key, value, kind):
            problems.append(problem)
            continue
        try:
            OmegaConf.update(schema, key, value)
        except OmegaConfBaseException as error:
            problems.append(f"{key}: {str(error).splitlines()[0]}")
    return problems


def key_problem(override: Override, keys: list[str], groups: dict[str, list[str]]) -> str | None:
    """An unknown first name that is nearer to a group, a command's option or a method's name than
    to a setting; None if it is not.
    """
    name = override.key_or_group
    if name.startswith("hydra/"):
        group = name.partition("/")[2]
        return f"{name}: choose with {group}=" if group in groups else f"{name}: not used here"
    inside = [key for key in keys if key.startswith(f"{name}.")]
    if inside and name not in keys:
        return f"{name}: a group of settings, not one; set them by name: {', '.join(inside)}"
    if "." in name or name in keys:
        return None
    if other := paper_override(name):
        return f"{name}: no such setting; did you mean {other!r}?"
    near = nearest(name, [*groups, *keys])
    if near not in groups:
        return None
    return f"{name}: no such group; did you mean {near!r}? Groups: {', '.join(groups)}"


def override_problems(overrides: list[Override], groups: dict[str, list[str]]) -> list[str]:
    """One sentence for everything wrong in the parsed overrides."""
    keys, problems = [*setting_keys(), *parameter_keys()], []
    for override in overrides:
        name = override.key_or_group
        if override.is_delete() or name.startswith("hydra."):
            continue
        if name in groups:
            problems += group_problems(override, groups[name])
        elif problem := key_problem(override, keys, groups):
            problems.append(problem)
        else:
            problems += value_problems(override, keys)
    return problems
