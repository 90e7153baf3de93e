"""From the words of a command line to the settings of every job. The only part that knows Hydra."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ffbench.cli.method_settings import is_parameter, method_defaults
from ffbench.cli.overrides import launcher_problems, word_problems
from ffbench.settings import RunSettings


class ConfigProblems(ValueError):
    """The command line makes no valid configuration; `found` has one sentence a problem."""

    def __init__(self, found: list[str]) -> None:
        super().__init__("\n".join(found))
        self.found = found


@dataclass(frozen=True)
class Job:
    """One run: the words that set it, without those that choose where it runs, and its settings."""

    words: tuple[str, ...]
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
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir().resolve()), version_base="1.3"):
        yield


def group_options() -> dict[str, list[str]]:
    """Configuration group -> names of its files."""
    loader = GlobalHydra.instance().config_loader()
    return {
        group: loader.get_group_options(group)
        for group in loader.list_groups("")
        if group != "hydra"
    }


def sets_launcher(word: str) -> bool:
    """True for a word that chooses or sets the launcher, or another part of Hydra's own
    configuration.
    """
    name = word.lstrip("+~").partition("=")[0]
    return name == "launcher" or name.startswith(("hydra.", "hydra/"))


def settings_of(config: DictConfig) -> RunSettings:
    """Typed settings of one job. Raises ConfigProblems where a value that must be chosen is
    missing.
    """
    plain = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    typed = OmegaConf.merge(OmegaConf.structured(RunSettings), plain)
    missing = sorted(OmegaConf.missing_keys(typed))
    if missing:
        raise ConfigProblems([f"{key}: must be given, for example {key}=NAME" for key in missing])
    settings: RunSettings = OmegaConf.to_object(typed)  # type: ignore[assignment]
    return settings


class Composer:
    """Composes jobs; configurations that share their groups are composed once."""

    def __init__(self) -> None:
        self._parser = OverridesParser.create()
        self._groups = group_options()
        self._bases: dict[tuple[str, ...], DictConfig] = {}

    def parse(self, words: list[str]) -> list[Override]:
        """The parsed words. Raises ConfigProblems naming every word that is no override."""
        parsed, found = [], []
        for word in words:
            try:
                parsed.append(self._parser.parse_override(word))
            except HydraException:
                found.append(
                    f"{word!r} is not understood; give settings as KEY=VALUE, for example sparsity=0.5, "
                    f"or a command: see `python -m ffbench --help`"
                )
        if found:
            raise ConfigProblems(found)
        return parsed

    def base(self, words: tuple[str, ...]) -> DictConfig:
        """The configuration of words that choose groups or set Hydra itself."""
        if words not in self._bases:
            self._bases[words] = compose("config", overrides=list(words), return_hydra_config=True)
        return self._bases[words]

    def config(self, words: list[str]) -> DictConfig:
        """The configuration of one job, Hydra's own part included."""
        values: list[Override] = []
        others: list[Override] = []
        for override in self._parser.parse_overrides(words):
            name = override.key_or_group
            ours = name not in self._groups and not name.startswith("hydra.")
            simple = ours and override.type == OverrideType.CHANGE and override.package is None
            (values if simple else others).append(override)
        config = deepcopy(self.base(tuple(str(one.input_line) for one in others)))
        for override in values:
            # a parameter that the chosen method does not have is refused with the others later
            method = is_parameter(override.key_or_group)
            OmegaConf.update(config, override.key_or_group, override.value(), force_add=method)
        return config

    def jobs(self, words: list[str]) -> list[Job]:
        """Every job of a command line, sweeps unrolled. Raises ConfigProblems with all problems at
        once.
        """
        parsed = self.parse(words)
        found = word_problems(parsed, self._groups) + launcher_problems(parsed)
        if found:
            raise ConfigProblems(found)
        try:
            fixed = [str(one.input_line) for one in parsed if not one.is_sweep_override()]
            parameters = self.config(fixed).hydra.sweeper.params or {}
            named = {one.key_or_group for one in parsed}
            swept = [f"{key}={value}" for key, value in parameters.items() if key not in named]
            every = self.parse([*words, *swept])
            found = word_problems(every, self._groups)
            if found:
                raise ConfigProblems(found)
            ours = [one for one in every if not sets_launcher(str(one.input_line))]
            lists = [
                [str(word) for word in job] for job in BasicSweeper.split_arguments(ours, None)[0]
            ]
            return [Job(tuple(job), settings_of(self.config(job))) for job in lists]
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigProblems([" ".join(str(error).split())]) from error


def jobs_of(*lines: list[str]) -> list[Job]:
    """Every job of one command line or of several. Raises ConfigProblems with all problems at
    once.
    """
    with configuration():
        composer = Composer()
        return [job for words in lines for job in composer.jobs(words)]


def sweep_name(words: list[str]) -> str | None:
    """The sweep or experiment that the words name, else None."""
    chosen: dict[str, Any] = dict(word.lstrip("+").split("=", 1) for word in words if "=" in word)
    return chosen.get("sweep") or chosen.get("experiment")
