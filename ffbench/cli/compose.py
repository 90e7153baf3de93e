"""From the overrides of a command line to the settings of every job, composed by Hydra."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ffbench.cli.launchers.settings import store_launchers
from ffbench.cli.method_settings import is_parameter, method_defaults
from ffbench.cli.options import expanded
from ffbench.cli.overrides import (
    inside_mapping,
    launcher_problems,
    override_problems,
    setting_types,
    sweep_problems,
)
from ffbench.cli.spelling import SEARCHPATH, clean, parse_problem, respelled, searchpath_problems
from ffbench.experiment.registered import registered
from ffbench.plugins import PluginError, load_plugins
from ffbench.settings import RunSettings

PATHS = ("output_dir", "task.data_dir", "calibration.folder", "model.location")


class ConfigProblems(ValueError):
    """The command line makes no valid configuration; `problems` has one sentence per problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Job:
    """One run: the overrides that set it, without those that choose where it runs, and its
    settings.
    """

    overrides: tuple[str, ...]
    settings: RunSettings


def config_dir() -> Path:
    """The installed configuration folder, or the repository's."""
    installed = Path(__file__).parents[1] / "conf"
    return installed if (installed / "config.yaml").exists() else Path(__file__).parents[2] / "conf"


def store_methods() -> None:
    """Make a configuration node of each registered method: its name and parameters."""
    for group, nodes in method_defaults().items():
        for name, node in nodes.items():
            ConfigStore.instance().store(name, node, group=group)


@contextmanager
def configuration() -> Iterator[None]:
    """Hydra over the configuration folder, with the typed schema."""
    ConfigStore.instance().store("schema", RunSettings)
    store_methods()
    store_launchers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir().resolve()), version_base="1.3"):
        yield


def group_options(searchpath: list[str] | None = None) -> dict[str, list[str]]:
    """Configuration group -> names of its files, those of a `searchpath` override included."""
    loader = GlobalHydra.instance().config_loader()
    return {
        group: loader.get_group_options(group, config_name="config", overrides=searchpath or [])
        for group in loader.list_groups("")
        if group != "hydra"
    }


def sets_launcher(override: str) -> bool:
    """Whether an override chooses or sets the launcher, or another part of Hydra's own
    configuration.
    """
    name = override.lstrip("+~").partition("=")[0]
    return name == "launcher" or name.startswith(("hydra.", "hydra/"))


def settings_of(config: DictConfig) -> RunSettings:
    """Typed settings of one job. Raises ConfigProblems if a value that must be chosen is
    missing.
    """
    plain = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    typed = OmegaConf.merge(OmegaConf.structured(RunSettings), plain)
    missing = sorted(OmegaConf.missing_keys(typed))
    if missing:
        raise ConfigProblems([f"{key}: must be given, for example {key}=NAME" for key in missing])
    settings: RunSettings = OmegaConf.to_object(typed)  # type: ignore[assignment]
    return settings


def job_settings(config: DictConfig) -> RunSettings:
    """`settings_of` with ~ in paths expanded."""
    for key in PATHS:
        value = OmegaConf.select(config, key, throw_on_missing=False)
        if isinstance(value, str) and value.startswith("~"):
            OmegaConf.update(config, key, expanded(value))
    return settings_of(config)


def job_choices(override: Override) -> list[str]:
    """The overrides of single jobs that one override makes: one, or one per value of a sweep."""
    if override.is_delete():
        return [str(override.input_line)]
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if override.is_range_sweep():
        return [f"{key}={clean(value)}" for value in override.sweep_iterator()]
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


class Composer:
    """Composes jobs; configurations that share their groups are composed once."""

    def __init__(self, searchpath: list[str] | None = None) -> None:
        self._parser = OverridesParser.create()
        self._searchpath = searchpath or []
        self._groups = group_options(self._searchpath)
        self._types = setting_types()
        self._bases: dict[tuple[str, ...], DictConfig] = {}

    def parse(self, overrides: list[str]) -> list[Override]:
        """The parsed overrides. Raises ConfigProblems naming every one that is not understood."""
        parsed, problems = [], []
        for text in overrides:
            if text.startswith("="):
                problems.append(parse_problem(text, ""))
                continue
            try:
                parsed.append(self._listed(respelled(text, self._types)))
            except (HydraException, ValueError) as error:  # ValueError: a number of 5000 digits
                problems.append(parse_problem(text, str(error).splitlines()[0]))
        if problems:
            raise ConfigProblems(problems)
        return parsed

    def _listed(self, text: str) -> Override:
        """A parsed override, with glob(...) over a group's files as the list of those files."""
        override = self._parser.parse_override(text)
        value = override.value()
        if isinstance(value, Glob):
            names = value.filter(self._groups.get(override.key_or_group, []))
            if names:
                key = override.get_key_element()
                return self._parser.parse_override(f"{key}={','.join(names)}")
        return override

    def base(self, overrides: tuple[str, ...]) -> DictConfig:
        """The configuration of overrides that choose groups or set Hydra itself."""
        if overrides not in self._bases:
            self._bases[overrides] = compose(
                "config", overrides=[*self._searchpath, *overrides], return_hydra_config=True
            )
        return self._bases[overrides]

    def config(self, overrides: list[str]) -> DictConfig:
        """The configuration of one job, Hydra's own part included."""
        values: list[Override] = []
        others: list[Override] = []
        for override in self._parser.parse_overrides(overrides):
            name = override.key_or_group
            ours = name not in self._groups and not name.startswith("hydra.")
            simple = ours and override.type == OverrideType.CHANGE and override.package is None
            (values if simple else others).append(override)
        config = deepcopy(self.base(tuple(str(override.input_line) for override in others)))
        for override in values:
            # a parameter that the chosen method does not have is refused with the others later
            new = is_parameter(override.key_or_group) or inside_mapping(override.key_or_group)
            OmegaConf.update(config, override.key_or_group, override.value(), force_add=new)
        return config

    def jobs(self, overrides: list[str]) -> list[Job]:
        """Every job of a command line, sweeps unrolled. Raises ConfigProblems with all problems at
        once.
        """
        ours = [text for text in overrides if not text.startswith(f"{SEARCHPATH}=")]
        parsed = self.parse(ours)
        problems = sweep_problems(parsed, self._groups)
        if not problems:
            problems = override_problems(parsed, self._groups) + launcher_problems(parsed)
        if problems:
            raise ConfigProblems(problems)
        try:
            return self._jobs(ours, parsed)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigProblems([" ".join(str(error).split())]) from error

    def _jobs(self, overrides: list[str], parsed: list[Override]) -> list[Job]:
        fixed = [str(one.input_line) for one in parsed if not one.is_sweep_override()]
        parameters = self.config(fixed).hydra.sweeper.params or {}
        named = {override.key_or_group for override in parsed}
        swept = [f"{key}={value}" for key, value in parameters.items() if key not in named]
        every = self.parse([*overrides, *swept])
        if problems := override_problems(every, self._groups):
            raise ConfigProblems(problems)
        choices = {
            override.get_key_element(): job_choices(override)
            for override in every
            if not sets_launcher(str(override.input_line))
        }
        return [
            Job(combination, job_settings(self.config(list(combination))))
            for combination in itertools.product(*choices.values())
        ]


def searchpath_of(overrides: list[str]) -> list[str]:
    """The last override of Hydra's search path, as a list of at most one."""
    return [text for text in overrides if text.startswith(f"{SEARCHPATH}=")][-1:]


def load_named_plugins(overrides: list[str]) -> None:
    """Import the modules that `plugins=` names, before what they register is looked up. Raises
    ConfigProblems for one that is missing or registers nothing.
    """
    named = [text.partition("=")[2] for text in overrides if text.startswith("plugins=")]
    modules = [module for text in named for module in split_list(text)]
    try:
        load_plugins(modules, registered)
    except PluginError as error:
        raise ConfigProblems([str(error)]) from error


def split_list(text: str) -> list[str]:
    """The items of a list as Hydra writes it, [a,b], or of a single name."""
    return [item.strip(" '\"") for item in text.strip("[] ").split(",") if item.strip()]


def jobs_of(*lines: list[str]) -> list[Job]:
    """Every job of one command line or of several. Raises ConfigProblems with all problems at
    once.
    """
    searchpath = searchpath_of([text for overrides in lines for text in overrides])
    if problems := [line for text in searchpath for line in searchpath_problems(text)]:
        raise ConfigProblems(problems)
    load_named_plugins([text for overrides in lines for text in overrides])
    with configuration():
        try:
            composer = Composer(searchpath)
        except HydraException as error:
            raise ConfigProblems([f"{SEARCHPATH}: {' '.join(str(error).split())}"]) from error
        return [job for overrides in lines for job in composer.jobs(overrides)]


def job_texts(overrides: list[str]) -> list[str]:
    """The configuration of every job as YAML."""
    searchpath = searchpath_of(overrides)
    with configuration():
        composer = Composer(searchpath)
        configs = [composer.config(list(job.overrides)) for job in composer.jobs(overrides)]
    return [
        OmegaConf.to_yaml(
            OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        )
        for config in configs
    ]


def sweep_name(overrides: list[str]) -> str | None:
    """The sweep or experiment that the overrides name, else None."""
    chosen: dict[str, Any] = dict(
        text.lstrip("+").split("=", 1) for text in overrides if "=" in text
    )
    return chosen.get("sweep") or chosen.get("experiment")
