"""Bad data files: exit code 2, file, line and what is wrong with it, no traceback, no model."""

import json
from pathlib import Path
from typing import Any

import pytest
from refusals import refused

RECORD = {
    "_id": "a1",
    "dataset": "qasper",
    "input": "What?",
    "context": "Some text.",
    "answers": ["This."],
    "length": 2,
    "all_classes": None,
    "language": "en",
}
TREC = RECORD | {"dataset": "trec", "all_classes": ["Food", "Date"], "answers": ["Food"]}


def changed(record: dict[str, Any], **fields: Any) -> str:
    """A record as a line, with other fields; "absent" leaves one out."""
    return json.dumps(
        {name: value for name, value in (record | fields).items() if value != "absent"}
    )


GOOD = json.dumps(RECORD)
DATA = [
    ("qasper", [GOOD, "{not json"], "qasper.jsonl line 2: not JSON"),
    ("qasper", ["", GOOD, "nor this"], "qasper.jsonl line 3: not JSON"),
    ("qasper", ["[1, 2]"], "a JSON object was expected, got list"),
    ("qasper", [GOOD, GOOD], "'_id' 'a1' occurs twice"),
    ("qasper", [changed(RECORD, context="absent")], "field 'context' must be str"),
    ("qasper", [changed(RECORD, _id=7)], "field '_id' must be str, got int"),
    ("qasper", [changed(RECORD, input=None)], "field 'input' must be str"),
    ("qasper", [changed(RECORD, answers="This.")], "field 'answers' must be list"),
    ("qasper", [changed(RECORD, answers=[])], "field 'answers' must hold at least one text"),
    ("qasper", [changed(RECORD, answers=[3])], "field 'answers' must hold at least one text"),
    ("qasper", [changed(RECORD, answers=[" "])], "holds empty text only"),
    ("qasper", [changed(RECORD, length="two")], "field 'length' must be int"),
    ("qasper", [changed(RECORD, dataset="hotpotqa")], "no record has dataset 'qasper'"),
    ("qasper", [], "no record has dataset 'qasper'"),
    ("qasper", [GOOD + "\udcff"], "UTF-8"),
    ("trec", [changed(TREC, all_classes=None)], "'all_classes' must name the classes"),
    ("trec", [changed(TREC, all_classes="Food, Date")], "field 'all_classes'"),
    ("hotpotqa", None, "for task 'hotpotqa'"),
    ("qasper", [GOOD[:-1] + ', "answers": ["Other."]}'], "the name 'answers' occurs twice"),
    ("qasper", ["[" * 100_000], "line 1: not JSON (its brackets are nested too deeply)"),
    ("qasper", [GOOD[:-1] + ', "x": ' + "9" * 5000 + "}"], "line 1: not JSON (Exceeds the limit"),
    ("qasper", [GOOD.replace('"length": 2', '"length": NaN')], "'length' must be int, got float"),
    ("qasper", [GOOD.replace('"length": 2', '"length": true')], "'length' must be int, got bool"),
    ("qasper", [GOOD + "\0"], "line 1: not JSON"),
    ("qasper", [GOOD + ","], "line 1: not JSON"),
    ("qasper", [GOOD, "\ufeff" + GOOD], "line 2: not JSON"),
    ("qasper", [f"[{GOOD}]"], "a JSON object was expected, got list"),
    ("qasper", [GOOD.replace(", ", ",\n")], "line 1: not JSON"),
    ("qasper", [changed(RECORD, answers=[["a"]])], "only text"),
    ("qasper", [changed(RECORD, _id="")], "field '_id' is empty"),
    ("trec", [changed(TREC, all_classes="__import__('os')")], "field 'all_classes'"),
    ("trec", [changed(TREC, all_classes="[" * 5000)], "field 'all_classes'"),
]


@pytest.mark.parametrize(("task", "lines", "text"), DATA, ids=[text for _, _, text in DATA])
def test_bad_records(
    task: str,
    lines: list[str] | None,
    text: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    if lines is not None:
        (data / f"{task}.jsonl").write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    refused(
        [
            "model=tiny_llama",
            "task=longbench",
            f"task.tasks=[{task}]",
            f"task.data_dir={data}",
            f"output_dir={tmp_path / 'out'}",
        ],
        text,
        capsys,
        monkeypatch,
    )
    assert not (tmp_path / "out" / "runs").exists()
