"""Figures from paired answers: means of task means, categories, length buckets, intervals, what the
records are."""

import pytest

from ffbench.evaluation.metrics import bucket_of, data_name, task_figures
from ffbench.tasks.base import TaskRecord, TaskSpec


def spec(name: str, category: str, headline: bool = True, published: int | None = 4) -> TaskSpec:
    return TaskSpec(
        name,
        category,
        "f1",
        8,
        lambda part, limit: [],
        lambda text, record: 0.0,
        lambda records: 5.0,
        headline=headline,
        published=published,
    )


def records(task: str, *lengths: int) -> list[TaskRecord]:
    return [
        TaskRecord(f"{task}{i}", task, "", "", ("x",), (), length)
        for i, length in enumerate(lengths)
    ]


def rows(work: list, values: dict[str, list[float]], nll: float) -> list[dict]:
    return [
        {
            "task": spec.name,
            "record_id": r.record_id,
            "score": score,
            "nll": nll,
            "tokens_cut": cut,
            "prompt_tokens": 100,
            "density": 0.75,
        }
        for spec, rs in work
        for r, score, cut in zip(rs, values[spec.name], (0, 10, 30, 0), strict=False)
    ]


WORK = [
    (spec("qa", "QA"), records("qa", 5, 6)),
    (spec("qa_e", "QA"), records("qa_e", 3999, 4000, 8000)),
    (spec("code", "code"), records("code", 9)),
    (spec("count", "synthetic", headline=False), records("count", 1)),
]
DENSE = {"qa": [10.0, 30.0], "qa_e": [60.0, 0.0, 30.0], "code": [50.0], "count": [100.0]}
SPARSE = {"qa": [10.0, 10.0], "qa_e": [30.0, 0.0, 30.0], "code": [60.0], "count": [0.0]}


def test_figures() -> None:
    found = task_figures(rows(WORK, DENSE, 2.0), rows(WORK, SPARSE, 2.5), WORK)
    qa, mean = found["tasks"]["qa"], found["mean"]
    assert (qa["n"], qa["score"], qa["score_dense"], qa["loss_abs"], qa["loss_rel"]) == (
        2,
        10,
        20,
        10,
        0.5,
    )
    assert (qa["loss_abs_low"], qa["loss_abs_high"], qa["loss_rel_high"]) == (0, 20, 1)
    assert (qa["truncated"], qa["tokens_cut"], qa["density_used"], qa["buckets"]) == (
        1,
        10,
        0.75,
        None,
    )
    assert (qa["nll_gain_abs"], qa["nll_gain_rel"], qa["nll_gain_abs_low"]) == (0.5, 0.25, 0.5)
    assert found["tasks"]["qa_e"]["truncated"] == 2 and found["tasks"]["qa_e"]["tokens_cut"] == 20
    assert mean["n"] == 6 and mean["score_dense"] == pytest.approx((20 + 30 + 50) / 3)
    assert mean["score"] == pytest.approx((10 + 20 + 60) / 3)
    assert found["categories"]["QA"]["score"] == 15 and found["categories"]["code"]["n"] == 1
    assert "synthetic" not in found["categories"] and found["tasks"]["count"]["loss_abs"] == 100
    assert found["buckets"]["0-4k"]["loss_abs"] == 30 and found["buckets"]["4-8k"]["n"] == 1
    assert found["tasks"]["qa_e"]["buckets"]["8k+"]["score"] == 30


def test_a_dense_run_is_measured_against_itself() -> None:
    answers = rows(WORK[:1], DENSE, 2.0)
    found = task_figures(answers, answers, WORK[:1])
    assert found["mean"]["loss_abs"] == 0 and found["tasks"]["qa"]["density_used"] == 1
    assert found["buckets"] is None


def test_a_mean_of_zero_has_no_relative_loss() -> None:
    answers = rows(WORK[2:3], {"code": [0.0]}, 2.0)
    assert (
        task_figures(answers, rows(WORK[2:3], SPARSE, 2.0), WORK[2:3])["mean"]["loss_rel"] is None
    )


def test_no_tasks_and_no_headline_task() -> None:
    assert task_figures([], [], [])["mean"] is None
    only = WORK[3:]
    assert task_figures(rows(only, DENSE, 1.0), rows(only, SPARSE, 1.0), only)["mean"] is None


@pytest.mark.parametrize(
    ("length", "name"), [(0, "0-4k"), (3999, "0-4k"), (4000, "4-8k"), (7999, "4-8k"), (8000, "8k+")]
)
def test_buckets_are_those_of_longbench_e(length: int, name: str) -> None:
    assert bucket_of(length) == name


def test_the_records_are_named() -> None:
    full, part = records("a", 1, 2, 3, 4), records("b", 1)
    assert data_name([(spec("a", "QA"), full)]) == "LongBench"
    assert data_name([(spec("a_e", "QA"), full)]) == "LongBench-E"
    assert (
        data_name([(spec("a", "QA"), full), (spec("b_e", "QA"), part)])
        == "subset of LongBench and LongBench-E"
    )
    assert data_name([(spec("code", "code", published=None), part)]) is None
