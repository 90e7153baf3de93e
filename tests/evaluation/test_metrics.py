"""Metrics from paired answers: means of task means, categories, length buckets, intervals, what the
records are."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ffbench.evaluation.metrics import PairedAnswers, bucket_of, data_name, task_metrics
from ffbench.methods.flops import PlanFlops
from ffbench.tasks.base import TaskRecord, TaskSpec


def spec(name: str, category: str, headline: bool = True, published: int | None = 4) -> TaskSpec:
    return TaskSpec(
        name=name,
        category=category,
        metric="f1",
        max_new_tokens=8,
        load=lambda limit: [],
        score=lambda text, record: 0.0,
        chance=lambda records: 5.0,
        headline=headline,
        suite=None if published is None else "LongBench-E" if name.endswith("_e") else "LongBench",
        published=published,
        length_buckets=name.endswith("_e"),
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


def test_metrics() -> None:
    found = task_metrics(rows(WORK, DENSE, 2.0), rows(WORK, SPARSE, 2.5), WORK)
    qa, mean = found["tasks"]["qa"], found["mean"]
    assert (qa["n"], qa["score"], qa["score_dense"], qa["loss_abs"], qa["loss_rel"]) == (
        2,
        10,
        20,
        10,
        0.5,
    )
    assert (qa["loss_abs_low"], qa["loss_abs_high"]) == (0, 20)
    # The dense score of a resample is 10, 20 or 30, and the loss 0, 10 or 20.
    assert (qa["loss_rel_low"], qa["loss_rel_high"]) == (0, pytest.approx(2 / 3))
    assert (qa["truncated"], qa["tokens_cut"], qa["density_used"], qa["buckets"]) == (
        1,
        10,
        0.75,
        None,
    )
    assert (qa["chance"], qa["above_chance"], qa["loss_over_chance"]) == (5, True, 10 / 15)
    assert (qa["nll_increase_abs"], qa["nll_increase_rel"], qa["nll_increase_abs_low"]) == (
        0.5,
        0.25,
        0.5,
    )
    assert qa["gold_ppl_ratio"] == pytest.approx(math.exp(0.5)) == qa["gold_ppl_ratio_high"]
    assert found["tasks"]["qa_e"]["truncated"] == 2 and found["tasks"]["qa_e"]["tokens_cut"] == 20
    assert mean["n"] == 6 and mean["score_dense"] == pytest.approx((20 + 30 + 50) / 3)
    assert mean["score"] == pytest.approx((10 + 20 + 60) / 3)
    assert mean["loss_over_chance"] == pytest.approx(10 / 85)  # (10 + 10 - 10) / (15 + 25 + 45)
    assert found["categories"]["QA"]["score"] == 15 and found["categories"]["code"]["n"] == 1
    assert "synthetic" not in found["categories"] and found["tasks"]["count"]["loss_abs"] == 100
    assert found["buckets"]["0-4k"]["loss_abs"] == 30 and found["buckets"]["4-8k"]["n"] == 1
    assert found["tasks"]["qa_e"]["buckets"]["8k+"]["score"] == 30


def test_answers_that_no_scorer_could_take_are_counted() -> None:
    dense, sparse = rows(WORK, DENSE, 2.0), rows(WORK, SPARSE, 2.5)
    assert task_metrics(dense, sparse, WORK)["scorer_failures"] == 0  # answers of older runs
    sparse[0]["score_error"] = sparse[-1]["score_error"] = dense[0]["score_error"] = "ValueError: x"
    dense[1]["score_error"] = None
    found = task_metrics(dense, sparse, WORK)
    counts = {name: task["scorer_failures"] for name, task in found["tasks"].items()}
    assert counts == {"qa": 2, "qa_e": 0, "code": 0, "count": 1} and found["scorer_failures"] == 3
    assert task_metrics(dense, dense, WORK)["scorer_failures"] == 1  # a dense run


def test_the_mean_of_categories_counts_each_category_once() -> None:
    found = task_metrics(rows(WORK, DENSE, 2.0), rows(WORK, SPARSE, 2.5), WORK)["category_mean"]
    assert found["score_dense"] == pytest.approx(((20 + 30) / 2 + 50) / 2)
    assert found["score"] == pytest.approx(((10 + 20) / 2 + 60) / 2)
    assert found["loss_rel"] == pytest.approx(0) and found["n"] == 6


def test_tasks_at_or_below_chance_are_flagged_and_outside_the_means() -> None:
    dense = DENSE | {"qa": [2.0, 8.0], "code": [4.0]}  # chance is 5
    found = task_metrics(rows(WORK, dense, 2.0), rows(WORK, SPARSE, 2.5), WORK)
    assert found["at_chance"] == ["qa", "code"]
    assert not found["tasks"]["qa"]["above_chance"] and not found["tasks"]["qa"]["headline"]
    assert found["mean"]["n"] == 3 and found["mean"]["score_dense"] == pytest.approx(30)
    assert set(found["categories"]) == {"QA"} and found["categories"]["QA"]["n"] == 3
    assert found["gold"]["n"] == 7  # gold likelihoods are of all tasks
    assert found["tasks"]["code"]["loss_over_chance"] is None


def test_unknown_chance_flags_nothing() -> None:
    work = [(replace(spec("one", "QA"), chance=lambda records: None), records("one", 1))]
    found = task_metrics(rows(work, {"one": [0.0]}, 1.0), rows(work, {"one": [0.0]}, 1.0), work)
    assert found["at_chance"] == [] and found["tasks"]["one"]["above_chance"] is None
    assert found["mean"]["loss_over_chance"] is None and found["mean"]["score"] == 0


def test_gold_likelihoods_by_task_and_by_record() -> None:
    dense, sparse = rows(WORK, DENSE, 2.0), rows(WORK, DENSE, 2.0)
    for row, added in zip(sparse, (0.1, 0.3, 0.0, 0.0, 0.6, 0.4, 1.0), strict=True):
        row["nll"] += added
    gold = task_metrics(dense, sparse, WORK)["gold"]
    by_task, by_record = gold["task_mean"], gold["record_mean"]
    assert by_task["nll_increase_abs"] == pytest.approx((0.2 + 0.2 + 0.4 + 1.0) / 4)
    assert by_record["nll_increase_abs"] == pytest.approx(2.4 / 7)
    assert by_record["gold_ppl_ratio"] == pytest.approx(math.exp(2.4 / 7))
    low, high = by_record["gold_ppl_ratio_low"], by_record["gold_ppl_ratio_high"]
    assert 1 <= low < by_record["gold_ppl_ratio"] < high < math.e


def test_without_decoding_only_gold_likelihoods_are_measured() -> None:
    def unscored(values: dict, nll: float) -> list[dict]:
        return [row | {"score": None} for row in rows(WORK, values, nll)]

    found = task_metrics(unscored(DENSE, 2.0), unscored(SPARSE, 2.25), WORK)
    assert found["at_chance"] == [] and found["mean"]["n"] == 6
    assert found["mean"]["nll_increase_abs"] == pytest.approx(0.25)
    for metrics in (found["mean"], found["tasks"]["qa"], found["category_mean"]):
        assert metrics["score"] is metrics["loss_rel_low"] is metrics["power"] is None
    assert set(found["mean"]) == set(
        task_metrics(rows(WORK, DENSE, 2.0), rows(WORK, SPARSE, 2.5), WORK)["mean"]
    )


def test_what_a_claim_of_under_6_percent_needs() -> None:
    generator = np.random.default_rng(0)
    work = [(spec(name, "QA"), records(name, *range(400))) for name in ("a", "b")]
    dense = {name: list(generator.uniform(20, 80, 400)) for name in ("a", "b")}
    noise = {name: generator.normal(0, 20, 400) for name in ("a", "b")}

    def needed(loss: float) -> dict[str, Any]:
        sparse = {
            name: list(np.array(dense[name]) * (1 - loss) + noise[name] - noise[name].mean())
            for name in dense
        }
        answers = [
            [
                {"task": s.name, "record_id": r.record_id, "score": float(v), "nll": 1.0}
                for s, rs in work
                for r, v in zip(rs, values[s.name], strict=True)
            ]
            for values in (dense, sparse)
        ]
        return PairedAnswers(*answers, work).mean(work)["power"]

    # By the formula of the ratio's standard error: 20 points of noise over 50, 800 records. The
    # drawn noise, the drawn scores and the bootstrap are off by 2.5%, 1.2% and 1.6% by chance.
    assert needed(0.02)["loss_rel_se"] == pytest.approx(20 / 50 / 800**0.5, rel=0.1)
    found = needed(0.02)
    se = found["loss_rel_se"]
    assert found["records_if_loss_is_0"] == math.ceil(800 * (1.96 * se / 0.06) ** 2)
    assert found["records_if_loss_is_as_measured"] == pytest.approx(
        800 * (1.96 * se / 0.04) ** 2, abs=5
    )
    assert needed(0.08)["records_if_loss_is_as_measured"] is None


def test_flops_of_a_task_count_its_dense_tokens() -> None:
    dense, sparse = rows(WORK, DENSE, 2.0), rows(WORK, SPARSE, 2.5)
    found = task_metrics(dense, sparse, WORK, PlanFlops(0.6, 0.5, 0.05, 0.05))["tasks"]["qa"]
    # density 0.75: half of the tokens are sparse
    assert found["density_used"] == 0.75 and found["flops_used"] == pytest.approx(0.5 + 0.5 * 0.6)
    assert task_metrics(dense, sparse, WORK)["tasks"]["qa"]["flops_used"] is None


def test_a_dense_run_is_measured_against_itself() -> None:
    answers = rows(WORK[:1], DENSE, 2.0)
    found = task_metrics(answers, answers, WORK[:1])
    assert found["mean"]["loss_abs"] == 0 and found["tasks"]["qa"]["density_used"] == 1
    assert found["buckets"] is None and found["tasks"]["qa"]["flops_used"] == 1


def test_a_mean_of_zero_has_no_relative_loss() -> None:
    work = [(replace(WORK[2][0], chance=lambda records: None), WORK[2][1])]
    answers = rows(work, {"code": [0.0]}, 2.0)
    mean = task_metrics(answers, rows(work, SPARSE, 2.0), work)["mean"]
    assert mean["loss_rel"] is None and mean["loss_abs"] == -60


def test_no_tasks_and_no_headline_task() -> None:
    empty = task_metrics([], [], [])
    assert empty["mean"] is empty["category_mean"] is empty["gold"] is None
    only = WORK[3:]
    assert task_metrics(rows(only, DENSE, 1.0), rows(only, SPARSE, 1.0), only)["mean"] is None


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
