"""What is wrong with single words of a command line, each with the nearest valid name."""

from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any, get_type_hints

from hydra.core.override_parser.types import Override, QuotedString
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ffbench.cli.method_settings import is_parameter, parameter_keys
from ffbench.settings import RunSettings

PACKAGED = ("sweep", "experiment")
PLUGINS = {
    "joblib": ("hydra_joblib_launcher", "joblib"),
    "slurm": ("hydra_submitit_launcher", "submitit"),
    "ray": ("hydra_ray_launcher", "ray"),
}
INSTALL = {
    "joblib": "pip install hydra-joblib-launcher==1.2.0",
    "slurm": "pip install 'ffbench[slurm]'",
    "ray": "pip install 'ffbench[ray]' (in an environment of its own: docs/sweeps.md)",
}


def setting_keys(kind: type = RunSettings, prefix: str = "") -> list[str]:
    """Dotted names of every setting."""
    hints, found = get_type_hints(kind), []
    for field in fields(kind):
        inner = hints[field.name]
        if is_dataclass(inner):
            found += setting_keys(inner, f"{prefix}{field.name}.")  # type: ignore[arg-type]
        else:
            found.append(prefix + field.name)
    return found


def nearest(word: str, names: list[str]) -> str:
    """A hint with the nearest of `names`, or an empty text."""
    near = get_close_matches(word, names, 1)
    return f"; did you mean {near[0]!r}?" if near else "."


def values_of(override: Override) -> list[Any]:
    """Every value that an override takes, sweeps unrolled."""
    if override.is_sweep_override():
        return list(override.sweep_iterator())
    value = override.value()
    return [value.text if isinstance(value, QuotedString) else value]


def group_problems(override: Override, options: list[str]) -> list[str]:
    """Unknown files of a configuration group; a package after @ is Hydra's own matter."""
    group, found = override.key_or_group, []
    for value in values_of(override):
        if str(value) not in options:
            found.append(
                f"{group}: {str(value)!r} is unknown{nearest(str(value), options)} "
                f"Valid: {', '.join(options)}"
            )
    if group in PACKAGED and not override.is_add():
        found.append(f"{group}: write +{override.input_line} (with a plus sign)")
    return found


def launcher_problems(overrides: list[Override]) -> list[str]:
    """A launcher whose plugin is not installed, or several launchers at once."""
    found = []
    for override in overrides:
        if override.key_or_group != "launcher":
            continue
        names = [str(value) for value in values_of(override)]
        if len(names) > 1:
            found.append(f"launcher: one at a time, received {', '.join(names)}")
        for name in names:
            plugin, package = PLUGINS.get(name, ("", ""))
            if plugin and not (
                find_spec("hydra_plugins")
                and find_spec(f"hydra_plugins.{plugin}")
                and find_spec(package)
            ):
                found.append(
                    f"launcher: {name!r} needs a package that is not installed: {INSTALL[name]}"
                )
    return found


def value_problems(override: Override, keys: list[str]) -> list[str]:
    """An unknown setting, or values of the wrong type."""
    key, schema, problems = override.key_or_group, OmegaConf.structured(RunSettings), []
    if key not in keys:
        return [f"{key}: no such setting{nearest(key, keys)} `python -m ffbench --help` lists all"]
    if is_parameter(key):  # typed by the chosen method, which is known later
        return []
    for value in values_of(override):
        try:
            OmegaConf.update(schema, key, value)
        except OmegaConfBaseException as error:
            problems.append(f"{key}: {str(error).splitlines()[0]}")
    return problems


def word_problems(overrides: list[Override], groups: dict[str, list[str]]) -> list[str]:
    """One sentence for everything wrong in the parsed words."""
    keys, found = [*setting_keys(), *parameter_keys()], []
    for override in overrides:
        name = override.key_or_group
        if override.is_delete() or name.startswith("hydra."):
            continue
        found += (
            group_problems(override, groups[name])
            if name in groups
            else value_problems(override, keys)
        )
    return found
