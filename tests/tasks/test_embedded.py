"""Embedded tasks: records that are fair, scorers on fixed pairs."""

import re

import pytest

from ffbench.tasks.base import TaskError, TaskRecord
from ffbench.tasks.embedded import completable, edit_similarity, retrieval_score
from ffbench.tasks.registry import get_spec, task_names


def record(*answers: str, classes: tuple[str, ...] = ()) -> TaskRecord:
    return TaskRecord("id", "task", "some context", "", answers, classes)


@pytest.mark.parametrize("name", ["embedded_code", "embedded_retrieval"])
def test_records_are_the_same_every_time(name: str) -> None:
    spec = get_spec(name)
    records = spec.records(24)
    assert records == spec.records(30)[:24] and len({r.record_id for r in records}) == 24
    assert 0 < spec.chance(records) < 40


def test_a_single_record_has_no_chance_by_another_answer() -> None:
    spec = get_spec("embedded_code")
    one, two = spec.records(2)
    assert spec.chance([one]) is None
    swapped = edit_similarity(two.answers[0], one) + edit_similarity(one.answers[0], two)
    assert spec.chance([one, two]) == pytest.approx(swapped / 2)


def test_code_records_hold_every_name_of_the_answer_but_not_the_line_as_the_next() -> None:
    for one in get_spec("embedded_code").records(24):
        names = set(re.findall(r"[A-Za-z_]\w+", one.answers[0]))
        assert len(names) >= 2 and names <= set(re.findall(r"[A-Za-z_]\w+", one.context))
        assert (
            one.answers[0].startswith("\n")
            and not one.context.endswith("\n")
            and len(one.context) > 1500
        )


def test_retrieval_records_show_the_passage_once_under_the_right_label() -> None:
    for one in get_spec("embedded_retrieval").records(24):
        passage = one.question.split("\n\n")[1].removesuffix(" [label:")
        labelled = re.findall(r"(.+?) \[label: (\w+)\]", one.context, re.DOTALL)
        assert [label for text, label in labelled if passage in text] == [one.answers[0].strip()]
        assert len(labelled) == 6 == len(set(one.all_classes))


@pytest.mark.parametrize(
    ("prediction", "answer", "score"),
    [
        ("\n    return x\nmore", "\n    return x", 100),
        ("# note\nreturn x", "return x", 100),
        ("", "abcd", 0),
        ("abxx", "abcd", 50),
        ("`code`\nabcd", "abcd", 100),
    ],
)
def test_edit_similarity(prediction: str, answer: str, score: float) -> None:
    assert edit_similarity(prediction, record(answer)) == pytest.approx(score)


@pytest.mark.parametrize(
    ("prediction", "score"),
    [
        (" stone]", 100),
        (" river]", 0),
        (" stone or river", 50),
        ("", 0),
        (" none\nstone", 0),
        (" stones", 0),
    ],
)
def test_retrieval_score(prediction: str, score: float) -> None:
    assert retrieval_score(prediction, record(" stone", classes=("stone", "river"))) == score


def test_a_line_needs_text_before_it() -> None:
    lines = ["value = other"] * 300
    assert not completable(lines, 3) and completable(lines, 299)


def test_refusals() -> None:
    with pytest.raises(TaskError, match="did you mean 'embedded_code'"):
        get_spec("embeded_code")
    with pytest.raises(TaskError, match="were asked for"):
        get_spec("embedded_code").records(100_000)
    assert {"embedded_code", "embedded_retrieval"} <= set(task_names())
