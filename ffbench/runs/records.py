"""Typed records of JSON files: dataclass fields with a meaning, and the check when one is read."""

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, field, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Record = TypeVar("Record")
Reader = Callable[[Any], Any]
EXPECTED = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


class SchemaError(ValueError):
    """A record does not have the fields of its schema; the text names the field and the value."""


def about(meaning: str, default: Any = MISSING, factory: Any = MISSING) -> Any:
    """A dataclass field with its meaning and unit. Without a default the field is required."""
    if factory is not MISSING:
        return field(default_factory=factory, metadata={"meaning": meaning})
    return field(default=default, metadata={"meaning": meaning})


@cache
def types_of(record: type) -> dict[str, Any]:
    """Field name -> type of a record class."""
    return get_type_hints(record)


class Misfit(ValueError):
    """A value that does not fit its type, and its place in the record, outermost first."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text, self.place = text, ""

    def inside(self, place: str) -> "Misfit":
        """The same one level further out."""
        self.place = place + self.place
        return self


def parse(record: type[Record], value: Any, where: str, strict: bool = False) -> Record:
    """An instance of the dataclass `record` from a JSON object.

    Fields that the record does not have are ignored, or refused if `strict`.

    Raises:
        SchemaError: a field is missing or has the wrong type; `where` begins the text.

    """
    try:
        made: Record = reader(record, strict)(value)  # type: ignore[arg-type]
    except Misfit as error:
        raise SchemaError(f"{where}{error.place}: {error.text}") from None
    return made


# Readers are made once per type: a report of ten thousand runs converts tens of millions of values.
@cache
def reader(hint: Any, strict: bool) -> Reader:
    """What converts a JSON value to the type `hint`. It raises Misfit."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = reader(next(a for a in arguments if a is not type(None)), strict)
        optional = type(None) in arguments
        return lambda value: None if value is None and optional else inner(value)
    if hint is Any:
        return lambda value: value
    if is_dataclass(hint):
        return record_reader(hint, strict)  # type: ignore[arg-type]
    if origin is dict:
        return dict_reader(reader(arguments[1], strict))
    if origin is list:
        return list_reader(reader(arguments[0], strict))
    return scalar_reader(hint if origin is None else origin)


def record_reader(record: type, strict: bool) -> Reader:
    """Objects as instances of the dataclass `record`."""
    hints = types_of(record)
    known = [(one.name, reader(hints[one.name], strict)) for one in fields(record)]
    names = {name for name, _ in known}
    required = [
        one.name
        for one in fields(record)
        if one.default is MISSING and one.default_factory is MISSING
    ]

    def read(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Misfit(f"expected an object, got {value!r:.60}")
        if missing := [name for name in required if name not in value]:
            raise Misfit(f"missing {', '.join(missing)}")
        if strict and (unknown := [name for name in value if name not in names]):
            raise Misfit(f"unknown fields: {', '.join(unknown)}")
        made = {}
        for name, convert in known:
            if name in value:
                try:
                    made[name] = convert(value[name])
                except Misfit as error:
                    raise error.inside(f": {name}") from None
        return record(**made)

    return read


def dict_reader(convert: Reader) -> Reader:
    """Objects as dicts of converted values."""

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise misfit(dict, value)
        made = {}
        for name, inner in value.items():
            try:
                made[str(name)] = convert(inner)
            except Misfit as error:
                raise error.inside(f".{name}") from None
        return made

    return read


def list_reader(convert: Reader) -> Reader:
    """Arrays as lists of converted values."""

    def read(value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise misfit(list, value)
        made: list[Any] = []
        try:
            for inner in value:
                made.append(convert(inner))
        except Misfit as error:
            raise error.inside(f"[{len(made)}]") from None
        return made

    return read


def scalar_reader(kind: type) -> Reader:
    """Numbers, texts or flags. A whole number may be written as 2.0, and a flag is not a number."""

    def read(value: Any) -> Any:
        if type(value) is kind:
            return value
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if kind is float and is_number:
            return float(value)
        if kind is int and is_number and float(value).is_integer():
            return int(value)
        if kind in (str, bool) and isinstance(value, kind):
            return value
        raise misfit(kind, value)

    return read


def misfit(kind: type, value: Any) -> Misfit:
    """The error of a value that is not of a kind."""
    expected = EXPECTED.get(kind, "a list" if kind is list else "an object")
    return Misfit(f"expected {expected}, got {value!r:.60}")


def meanings(record: type) -> dict[str, str]:
    """Field name -> meaning of a record class."""
    return {one.name: one.metadata["meaning"] for one in fields(record)}  # type: ignore[arg-type]
