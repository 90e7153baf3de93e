"""Results as typed records: what is parsed, converted and refused."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from ffbench.runs import schema, score_fields
from ffbench.runs.records import SchemaError, meanings, parse

HEAD = {"schema_version": 2, "run_key": "0" * 16, "model": "m", "sparsity": 0.5}
TAIL = {"n": 2, "kl": 0.02, "kl_low": 0.01, "kl_high": 0.03, "kl_worst": 0.05}
ROW = {
    "text": "prose",
    "document": "a",
    "context": 512,
    "tail": "copy",
    "tokens": 255,
    "kl": 0.1,
    "nll_dense": 2,
    "nll_sparse": 2.5,
    "top1_agreement": 0.9,
}
RECORDS = (
    schema.RunResult,
    score_fields.LossFields,
    score_fields.GoldFields,
    score_fields.GoldSummary,
    score_fields.Power,
    score_fields.TaskFields,
    schema.TailFidelity,
    schema.PromptFidelity,
    schema.FidelityRow,
    schema.FidelityFields,
    schema.SpeedRatio,
    schema.SpeedFields,
    schema.LayerFields,
    schema.FlopsFields,
    schema.AnswerRecord,
)


def result(**changes: Any) -> schema.RunResult:
    return parse(schema.RunResult, HEAD | changes, "result.json")


def test_a_result_survives_json_and_is_typed() -> None:
    fidelity = {"contexts": [512], "tails": {"copy": TAIL}, "rows": [ROW]}
    before = result(fidelity=fidelity, tasks={"t": {"n": 3, "loss_abs": 1, "headline": True}})
    after = parse(schema.RunResult, json.loads(json.dumps(before.to_json())), "again", strict=True)
    assert after == before and after.fidelity is not None
    assert after.fidelity.tails["copy"].kl_worst == 0.05
    assert after.fidelity.rows[0].nll_dense == 2.0 and after.tasks["t"].loss_abs == 1.0
    assert not after.dense and result(sparsity=0).dense and result(sparsity=0).selector == "dense"


def test_what_was_not_measured_is_null_and_never_left_out() -> None:
    written = result().to_json()
    assert set(written) == {one.name for one in fields(schema.RunResult)}
    assert written["speed"] is None and written["fidelity"] is None and written["flops"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sparsity": "half"}, "result.json: sparsity: expected a number, got 'half'"),
        ({"block_size": 1.5}, "result.json: block_size: expected a whole number, got 1.5"),
        ({"sparsity": True}, "expected a number, got True"),
        ({"layers": [{"kept": 3}]}, r"result.json: layers\[0\]: missing layer"),
        ({"speed": {"ttft": 3}}, "result.json: speed: ttft: expected a list, got 3"),
        ({"tasks": {"t": []}}, "result.json: tasks.t: expected an object"),
    ],
)
def test_wrong_values_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        result(**changes)


def test_unknown_fields_are_ignored_by_the_reader_and_refused_in_the_writer() -> None:
    assert result(later=1) == result()
    with pytest.raises(SchemaError, match="unknown fields: later"):
        parse(schema.RunResult, HEAD | {"later": 1}, "new", strict=True)


@pytest.mark.parametrize("record", RECORDS)
def test_every_field_says_what_it_holds(record: type) -> None:
    assert all(len(text) > 1 for text in meanings(record).values())


def test_the_page_of_fields_is_the_schema() -> None:
    page = (Path(__file__).parents[2] / "docs" / "result-schema.md").read_text()
    assert all(f"`{one.name}`" in page for one in fields(schema.RunResult))
