"""Methods by name: classes with parameters, registered where they are defined."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib import import_module
from math import isfinite
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, ClassVar, Generic, TypeVar, get_type_hints

from ffbench.suggestions import unknown_name


class MethodError(ValueError):
    """A method is not known or its parameters are not valid; `problems` has one sentence per
    problem.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Method:
    """What selectors, token rules, compensators and schedulers have in common.

    The dataclass fields of a method are its parameters: they are settings, they are swept, and they
    are part of every key that the method's results depend on.
    """

    name: ClassVar[str]

    def parameters(self) -> dict[str, Any]:
        """The parameters by name."""
        return asdict(self)

    def problems(self) -> list[str]:
        """One sentence per parameter whose value is not valid, without the group's name."""
        return []


M = TypeVar("M", bound=Method)


class Registry(Generic[M]):
    """Classes of one kind of method. `group` is the name of their settings group."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.classes: dict[str, type[M]] = {}

    def add(self, cls: type[M]) -> type[M]:
        """Register a class (a decorator). Raises ValueError if its name is taken or it has none."""
        name = getattr(cls, "name", None)
        if not isinstance(name, str) or not is_dataclass(cls):
            raise ValueError(f"{cls.__qualname__}: a {self.group} is a dataclass with a `name`")
        if name in self.classes:
            raise ValueError(f"{self.group} {name!r} is registered twice")
        self.classes[name] = cls
        return cls

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.classes))

    def __contains__(self, name: object) -> bool:
        return name in self.classes

    def __getitem__(self, name: str) -> type[M]:
        """The class called `name`. Raises MethodError with the nearest name if there is none."""
        if name not in self.classes:
            raise MethodError([unknown_name(self.group, name, self)])
        return self.classes[name]

    def defaults(self) -> dict[str, dict[str, Any]]:
        """Settings node of each method: its name and the default of every parameter."""
        return {name: {"name": name, **asdict(cls())} for name, cls in self.classes.items()}

    def make(self, node: Mapping[str, Any]) -> M:
        """The method that a settings node names, with the node's parameters.

        Raises MethodError naming every parameter that is unknown, has the wrong type or a value
        that the method refuses.
        """
        cls = self[str(node.get("name"))]
        given = {key: value for key, value in node.items() if key != "name"}
        hints = get_type_hints(cls)
        known = [field.name for field in fields(cls)]
        problems = [
            f"{self.group}.{key}: {self.group} {cls.name!r} has no such parameter; it has "
            f"{', '.join(known) or 'none'}"
            for key in given
            if key not in known
        ]
        values: dict[str, Any] = {}
        for key in set(given) & set(known):
            try:
                values[key] = converted(given[key], hints[key])
            except ValueError as error:
                problems.append(f"{self.group}.{key}: {error}")
        if problems:
            raise MethodError(sorted(problems))
        method = cls(**values)
        if refused := method.problems():
            raise MethodError([f"{self.group}.{problem}" for problem in refused])
        return method


def converted(value: Any, kind: Any) -> Any:
    """`value` as bool, int, float or str; an int is a float too. Raises ValueError otherwise."""
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not isfinite(value):
            raise ValueError(f"{value} is not a finite number")
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{value!r} is not a value of type {kind.__name__}")
    return value


def one_of(name: str, value: str, valid: tuple[str, ...]) -> list[str]:
    """One problem if the parameter `name` is not among the valid values."""
    return [] if value in valid else [unknown_name(name, value, valid)]


def at_least(name: str, value: float, least: float) -> list[str]:
    """One problem if the parameter `name` is below `least`."""
    return [] if value >= least else [f"{name}: {value} is too small; choose {least} or more"]


def between(name: str, value: float, least: float, most: float) -> list[str]:
    """One problem if the parameter `name` is not in least..most."""
    inside = least <= value <= most
    return [] if inside else [f"{name}: {value} is not between {least} and {most}"]


def import_methods(package: ModuleType) -> None:
    """Import every module of a package, so that the methods in it register themselves."""
    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
