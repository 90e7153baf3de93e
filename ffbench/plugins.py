"""A user's own methods, tasks and models' layouts: modules that register them when imported.

`plugins=[my_package.my_selector]` names modules; installed packages name theirs in the entry point
group `ffbench.plugins`.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from ffbench.suggestions import suggestion

GROUP = "ffbench.plugins"
Registered = Callable[[], Collection[str]]


class PluginError(ValueError):
    """A plugin cannot be used; the text says which and what to do."""


@dataclass(frozen=True)
class Plugin:
    """An imported plugin: its module, the hash of its source (None without a source file) and the
    methods and tasks that it registered, as the `registered` of `load_plugins` spells them.
    """

    module: str
    source: str | None
    methods: tuple[str, ...]


_loaded: dict[str, Plugin] = {}


def load_plugins(modules: Iterable[str], registered: Registered) -> list[Plugin]:
    """Import modules, and those of installed packages, which may register nothing new.

    `registered` returns the names of all methods and tasks registered so far. A module is imported
    once per process. Raises PluginError for a module that is missing, cannot be imported or
    registers nothing.
    """
    named = [load_module(module, registered, f"plugins: {module}") for module in modules]
    installed = [load_entry_point(point, registered) for point in entry_points(group=GROUP)]
    return list(dict.fromkeys([*named, *installed]))


def source_of(method: str) -> str | None:
    """Hash of the source that registered a method, spelled as in `Plugin.methods`; None if no
    plugin did.
    """
    return next((one.source for one in _loaded.values() if method in one.methods), None)


def load_entry_point(point: EntryPoint, registered: Registered) -> Plugin:
    """The module that an installed package's entry point names."""
    where = f"plugins: entry point {point.name!r}"
    return load_module(point.value.partition(":")[0], registered, where)


def load_module(module: str, registered: Registered, where: str) -> Plugin:
    """Import one module; `where` begins the error's text."""
    if module in _loaded:
        return _loaded[module]
    if problem := missing_problem(module):
        raise PluginError(f"{where}: {problem}")
    before = set(registered())
    try:
        with_current_folder(module)
        imported = import_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's module can raise anything
        text = " ".join(str(error).split()) or "no message"
        raise PluginError(
            f"{where}: cannot be imported ({type(error).__name__}: {text})"
        ) from error
    methods = tuple(sorted(set(registered()) - before))
    if not methods:
        raise PluginError(
            f"{where}: registers nothing; decorate its classes with a registry's `add`, or give "
            "its tasks to `add_task` and its layouts to `add_layout` (docs/extending.md)"
        )
    _loaded[module] = Plugin(module, source_hash(imported), methods)
    return _loaded[module]


def with_current_folder(module: str) -> None:
    """Let a module of the current folder be imported also by the console script."""
    top = module.partition(".")[0]
    folder = os.getcwd()
    here = Path(folder)
    if ((here / top).is_dir() or (here / f"{top}.py").exists()) and folder not in sys.path:
        sys.path.append(folder)


def missing_problem(module: str) -> str | None:
    """Why a module cannot be found; None if it can."""
    if module.endswith(".py") or "/" in module:
        return "give a module (my_package.my_selector), not a file"
    if not all(part.isidentifier() for part in module.split(".")):
        return f"{module!r} is not a module's name; use letters, digits, _ and dots"
    with_current_folder(module)
    top = module.partition(".")[0]
    try:
        if find_spec(module) is not None:
            return None
    except (ImportError, ValueError):  # a parent package is missing, or is a plain module
        pass
    near = suggestion(top, [path.stem for path in Path.cwd().glob("*.py")])
    return (
        f"no such module{near} Install its package, or start from the folder that holds "
        f"{top}.py or {top}/"
    )


def source_hash(module: ModuleType) -> str | None:
    """SHA-256 of a module's source, of all of a package's *.py files; None without a file."""
    if getattr(module, "__file__", None) is None:
        return None
    file = Path(str(module.__file__))
    files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
    digest = hashlib.sha256()
    for path in files:
        digest.update(str(path.relative_to(file.parent)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
