"""Typed records of JSON files: dataclass fields with a meaning, and the check when one is read."""

import types
from collections.abc import Mapping
from dataclasses import MISSING, field, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Record = TypeVar("Record")
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


def parse(record: type[Record], value: Any, where: str, strict: bool = False) -> Record:
    """An instance of the dataclass `record` from a JSON object.

    Fields that the record does not have are ignored, or refused if `strict`.

    Raises:
        SchemaError: a field is missing or has the wrong type; `where` begins the text.

    """
    if not isinstance(value, Mapping):
        raise SchemaError(f"{where}: expected an object, got {value!r:.60}")
    known = {one.name: one for one in fields(record)}  # type: ignore[arg-type]
    missing = [
        name
        for name, one in known.items()
        if name not in value and one.default is MISSING and one.default_factory is MISSING
    ]
    if missing:
        raise SchemaError(f"{where}: missing {', '.join(missing)}")
    unknown = [name for name in value if name not in known]
    if strict and unknown:
        raise SchemaError(f"{where}: unknown fields: {', '.join(unknown)}")
    hints = types_of(record)  # type: ignore[arg-type]
    return record(
        **{
            name: convert(hints[name], value[name], f"{where}: {name}", strict)
            for name in known
            if name in value
        }
    )


def convert(hint: Any, value: Any, where: str, strict: bool) -> Any:
    """`value` as the type `hint`. Raises SchemaError."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return convert(next(a for a in arguments if a is not type(None)), value, where, strict)
    if hint is Any:
        return value
    if is_dataclass(hint):
        return parse(hint, value, where, strict)  # type: ignore[arg-type]
    if origin is dict and isinstance(value, Mapping):
        return {
            str(name): convert(arguments[1], inner, f"{where}.{name}", strict)
            for name, inner in value.items()
        }
    if origin is list and isinstance(value, (list, tuple)):
        return [
            convert(arguments[0], inner, f"{where}[{place}]", strict)
            for place, inner in enumerate(value)
        ]
    return scalar(hint if origin is None else origin, value, where)


def scalar(hint: Any, value: Any, where: str) -> Any:
    """A number, text or flag as `hint`. Raises SchemaError."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is float and is_number:
        return float(value)
    if hint is int and is_number and value == int(value):
        return int(value)
    if hint in (str, bool) and isinstance(value, hint):
        return value
    expected = EXPECTED.get(hint, "a list" if hint is list else "an object")
    raise SchemaError(f"{where}: expected {expected}, got {value!r:.60}")


def meanings(record: type) -> dict[str, str]:
    """Field name -> meaning of a record class."""
    return {one.name: one.metadata["meaning"] for one in fields(record)}  # type: ignore[arg-type]
