"""Typed records of JSON: values by type, and the place of one that does not fit."""

import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from ffbench.runs.records import SchemaError, parse


@dataclass(frozen=True, kw_only=True)
class Inner:
    name: str
    share: float | None = None


@dataclass(frozen=True, kw_only=True)
class Outer:
    count: int
    flag: bool = False
    free: dict[str, Any] = field(default_factory=dict)
    rows: list[Inner] = field(default_factory=list)
    by_name: dict[str, dict[str, Inner]] = field(default_factory=dict)


def test_values_get_the_types_of_their_fields() -> None:
    made = parse(
        Outer,
        {
            "count": 2.0,
            "free": {"a": [1, None]},
            "rows": [{"name": "x", "share": 1}, {"name": "y", "share": None, "more": 3}],
            "by_name": {"p": {"q": {"name": "z"}}},
        },
        "file",
    )
    assert made == Outer(
        count=2,
        free={"a": [1, None]},
        rows=[Inner(name="x", share=1.0), Inner(name="y")],
        by_name={"p": {"q": Inner(name="z")}},
    )
    assert type(made.count) is int and type(made.rows[0].share) is float


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], "file: expected an object, got []"),
        ({}, "file: missing count"),
        ({"count": 1.5}, "file: count: expected a whole number, got 1.5"),
        ({"count": math.inf}, "file: count: expected a whole number, got inf"),
        ({"count": math.nan}, "file: count: expected a whole number, got nan"),
        ({"count": True}, "file: count: expected a whole number, got True"),
        ({"count": None}, "file: count: expected a whole number, got None"),
        ({"count": 1, "flag": 1}, "file: flag: expected true or false, got 1"),
        ({"count": 1, "rows": {}}, "file: rows: expected a list, got {}"),
        ({"count": 1, "by_name": []}, "file: by_name: expected an object, got []"),
        ({"count": 1, "rows": [{"name": "x"}, {}]}, "file: rows[1]: missing name"),
        (
            {"count": 1, "by_name": {"p": {"q": {"name": "x", "share": "1"}}}},
            "file: by_name.p.q: share: expected a number, got '1'",
        ),
    ],
)
def test_misfits_are_told_with_their_place(value: Any, text: str) -> None:
    with pytest.raises(SchemaError) as error:
        parse(Outer, value, "file")
    assert str(error.value) == text


def test_unknown_fields_are_refused_only_if_strict() -> None:
    value = {"count": 1, "rows": [{"name": "x", "more": 1}]}
    assert parse(Outer, value, "file").rows == [Inner(name="x")]
    with pytest.raises(SchemaError, match=r"^file: rows\[0\]: unknown fields: more$"):
        parse(Outer, value, "file", strict=True)
