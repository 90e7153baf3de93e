"""JSON of others: every fault is a ValueError."""

import pytest

from ffbench import strict_json


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a":' * 100_000, "9" * 5000, b"\xff"])
def test_every_fault_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        strict_json.parse(text)


def test_a_record_names_everything_once() -> None:
    assert strict_json.parse_record('{"a": {"b": 1}, "b": [2]}') == {"a": {"b": 1}, "b": [2]}
    for text in ('{"a": 1, "b": 2, "a": 3}', '[{"c": {"a": 1, "a": 1}}]'):
        with pytest.raises(ValueError, match="the name 'a' occurs twice"):
            strict_json.parse_record(text)
    with pytest.raises(ValueError, match="nested too deeply"):
        strict_json.parse_record("[" * 100_000)
