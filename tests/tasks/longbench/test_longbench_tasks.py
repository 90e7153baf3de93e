"""LongBench tasks: which there are, records that cannot be read, which ones a limit takes, when
answers stop."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ffbench.tasks.base import STOPS, TaskError, TaskRecord, choose_evenly
from ffbench.tasks.longbench.tasks import RULES, prompt
from ffbench.tasks.registry import get_spec

NO_CHAT = {"trec", "triviaqa", "samsum", "lsht", "lcc", "repobench-p"}


def write(folder: Path, name: str, **changes: Any) -> str:
    row = {
        "_id": "a",
        "dataset": name,
        "input": "Q",
        "context": "C",
        "answers": ["x"],
        "all_classes": None,
        "length": 1,
    } | changes
    (folder / f"{name}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    return str(folder)


def test_all_tasks_are_registered() -> None:
    assert len(RULES) == 21
    assert sum(rule["records_extended"] > 0 for rule in RULES.values()) == 13
    for name in RULES:
        assert get_spec(name).chat == (name not in NO_CHAT)
    assert not get_spec("passage_count_e").headline


def test_braces_in_a_record_stay() -> None:
    assert "".join(prompt(RULES["lcc"], "f{input}{x}", "")).count("f{input}{x}") == 1


def test_first_line_and_best_answer(tmp_path: Path) -> None:
    record = get_spec("triviaqa").records(
        None, write(tmp_path, "triviaqa", answers=["blue", "red"])
    )[0]
    assert get_spec("triviaqa").score("\n\nred\nblue green", record) == 100


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"context": 3}, "field 'context' must be str, got int"),
        ({"answers": []}, "field 'answers'"),
        ({"answers": [" "]}, "empty text only"),
        ({"length": "3"}, "field 'length' must be int, got str"),
        ({"all_classes": "[1"}, "field 'all_classes'"),
        ({"context": "half a pair \ud83d"}, "field 'context' is not Unicode text"),
        ({"_id": "\ud83d"}, "field '_id' is not Unicode text"),
        ({"answers": ["\ud83d"]}, "field 'answers' is not Unicode text"),
        ({"all_classes": None}, "must name the classes"),
    ],
)
def test_bad_record_names_file_line_and_field(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(TaskError, match="trec.jsonl line 1") as error:
        get_spec("trec").records(
            None, write(tmp_path, "trec", **{"all_classes": "['x']"} | changes)
        )
    assert words in str(error.value)


def test_no_file_of_a_task(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="has no qasper.jsonl or qasper.jsonl.gz for task 'qasper'"):
        get_spec("qasper").records(2, str(tmp_path))


def test_choice_spreads_over_lengths_in_any_order() -> None:
    records = [
        TaskRecord(f"r{i}", "t", "", "", ("x",), (), i) for i in (7, 3, 9, 0, 5, 1, 8, 2, 6, 4)
    ]
    assert [r.length for r in choose_evenly(records, 3)] == [1, 5, 8]
    assert choose_evenly(records[::-1], 3) == choose_evenly(records, 3)
    assert [r.length for r in choose_evenly(records, None)] == list(range(10))
    assert len(choose_evenly(records, 99)) == 10


@pytest.mark.parametrize(
    ("stop", "open_text", "done_text"),
    [
        ("line", "\n\nred", "\nred\n"),
        ("code_line", "# a\n`b`\n// c\nx = 1", "\n# a\nx = 1\n"),
        ("end", "a\n\nb", None),
        ("newline_token", "a\nb", None),
    ],
)
def test_stop_rules(stop: str, open_text: str, done_text: str | None) -> None:
    assert not STOPS[stop](open_text)
    assert done_text is None or STOPS[stop](done_text)


def test_a_missing_scorer_is_named_before_any_record_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ffbench.tasks.longbench.tasks.find_spec", lambda name: None)
    with pytest.raises(
        TaskError, match=r"'dureader' is scored with rouge and jieba.*pip install 'ffbench\[eval\]'"
    ):
        get_spec("dureader").records(1, "nowhere")


@pytest.mark.parametrize(
    ("task", "gold"), [("passage_retrieval_en", "3"), ("passage_retrieval_zh", "Paragraph 3")]
)
def test_gold_that_names_no_paragraph_is_refused_when_it_is_read(
    tmp_path: Path, task: str, gold: str
) -> None:
    with pytest.raises(TaskError, match=f"{task}.jsonl line 1: field 'answers' holds '{gold}'"):
        get_spec(task).records(None, write(tmp_path, task, answers=[gold]))


def rows(task: str, **changes: Any) -> list[dict[str, Any]]:
    row = {"dataset": task, "input": "Q", "context": "C", "answers": ["x"], "length": 1}
    return [row | {"_id": f"a{i}"} | changes for i in range(2)]


@pytest.mark.parametrize("form", ["bom", "crlf", "blank lines", "gzip"])
def test_files_that_other_tools_write_are_read(tmp_path: Path, form: str) -> None:
    lines = [json.dumps(row) for row in rows("qasper")]
    data = {
        "bom": ("\n".join(lines)).encode("utf-8-sig"),
        "crlf": ("\r\n".join(lines) + "\r\n").encode(),
        "blank lines": ("\n" + "\n\n".join(lines) + "\n\n").encode(),
        "gzip": gzip.compress("\n".join(lines).encode()),
    }[form]
    (tmp_path / ("qasper.jsonl.gz" if form == "gzip" else "qasper.jsonl")).write_bytes(data)
    found = get_spec("qasper").records(None, str(tmp_path))
    assert [record.record_id for record in found] == ["a0", "a1"]


def test_a_failing_scorer_counts_nothing_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*arguments: Any) -> float:
        raise RecursionError("too deep")

    spec = replace(get_spec("qasper"), score=broken, chance=broken)
    record = TaskRecord("r7", "qasper", "", "", ("x",))
    assert spec.points("text", record) == 0 and spec.chance_points([record]) is None
    assert "qasper, record 'r7': the scorer failed (RecursionError: too deep)" in caplog.text
    assert spec.graded("text", record) == (0.0, "RecursionError: too deep")
