"""Metrics of a run from paired answers: per task, category and length bucket, and their means."""

import logging

import numpy as np

from ffbench.evaluation.group_metrics import Answers, Group, Metrics, gold_metrics, group_metrics
from ffbench.methods.flops import PlanFlops
from ffbench.tasks.base import TaskRecord, TaskSpec, Work

logger = logging.getLogger(__name__)

# LongBench-E's buckets: words below the bound, as the record states them.
BUCKETS = {"0-4k": 4000, "4-8k": 8000, "8k+": None}


def bucket_of(length: int) -> str:
    """The bucket of a record of `length` words."""
    return next(name for name, bound in BUCKETS.items() if bound is None or length < bound)


def data_name(work: Work) -> str | None:
    """The benchmarks that the records are of, with "subset of" if a task lacks some; None for
    tasks of no benchmark.
    """
    suites = sorted({spec.suite for spec, _ in work if spec.suite})
    part = any(len(records) < (spec.published or 0) for spec, records in work if spec.suite)
    return ("subset of " if part else "") + " and ".join(suites) if suites else None


class PairedAnswers:
    """Answers of the same records, dense and sparse, by task."""

    def __init__(self, dense: Answers, sparse: Answers, work: Work) -> None:
        self.dense, self.sparse = (
            {(a["task"], a["record_id"]): a for a in side} for side in (dense, sparse)
        )
        self.measured = dense is not sparse
        # Without decoded answers there is nothing to compare a guess with.
        scored = all(answer["score"] is not None for answer in (*dense, *sparse))
        self.chance = {
            spec.name: spec.chance_points(records) if scored else None for spec, records in work
        }
        self.at_chance = [
            spec.name for spec, records in work if self.of(spec, records).above_chance is False
        ]

    def of(self, spec: TaskSpec, records: list[TaskRecord]) -> Group:
        """The answers of some of a task's records."""
        keys = [(spec.name, record.record_id) for record in records]
        return Group(
            [self.sparse[key] for key in keys],
            [self.dense[key] for key in keys],
            self.chance[spec.name],
        )

    def headline(self, work: Work) -> Work:
        """The tasks that means are taken over: headline ones above chance that have records."""
        return [
            (spec, records)
            for spec, records in work
            if spec.headline and records and spec.name not in self.at_chance
        ]

    def mean(self, work: Work) -> Metrics | None:
        """Metrics over the headline tasks, which all count the same; None if there is none."""
        chosen = self.headline(work)
        return group_metrics([self.of(*pair) for pair in chosen]) if chosen else None

    def category_mean(self, work: Work) -> Metrics | None:
        """LongBench's own average: the mean over categories of the means over their tasks."""
        chosen = self.headline(work)
        names = [spec.category for spec, _ in chosen]
        if not names:
            return None
        weights = np.array([1 / (len(set(names)) * names.count(name)) for name in names])
        return group_metrics([self.of(*pair) for pair in chosen], weights)

    def gold(self, work: Work) -> Metrics | None:
        """Gold likelihoods over all tasks, those at chance and outside the headline included: every
        task counts the same (`task_mean`), or every record (`record_mean`).
        """
        groups = [self.of(spec, records) for spec, records in work if records]
        if not groups:
            return None
        sparse, dense = (
            [answer for group in groups for answer in side(group)]
            for side in (lambda group: group.sparse, lambda group: group.dense)
        )
        return {
            "n": len(sparse),
            "task_mean": gold_metrics(groups, None),
            "record_mean": gold_metrics([Group(sparse, dense, None)], None),
        }

    def task(self, spec: TaskSpec, records: list[TaskRecord], flops: PlanFlops | None) -> Metrics:
        """Metrics of one task."""
        group = self.of(spec, records)
        cut = [answer["tokens_cut"] for answer in group.sparse if answer["tokens_cut"]]
        density = float(group.column("density").mean()) if self.measured else 1.0
        used = flops.whole_prompt(density) if flops else None
        return group_metrics([group]) | {
            "metric": spec.metric,
            "category": spec.category,
            "above_chance": group.above_chance,
            "headline": spec.headline and spec.name not in self.at_chance,
            "truncated": len(cut),
            "tokens_cut": sum(cut) / len(cut) if cut else 0.0,
            "prompt_tokens": float(group.column("prompt_tokens").mean()),
            "density_used": density,
            "flops_used": used if self.measured else 1.0,
            "buckets": self.buckets(spec, records) if spec.length_buckets else None,
            "scorer_failures": self.scorer_failures(group),
        }

    def buckets(self, spec: TaskSpec, records: list[TaskRecord]) -> Metrics:
        """Metrics of one task by length, for lengths that it has."""
        parts = {name: [r for r in records if bucket_of(r.length) == name] for name in BUCKETS}
        return {name: group_metrics([self.of(spec, part)]) for name, part in parts.items() if part}

    def scorer_failures(self, group: Group) -> int:
        """Answers, dense and sparse, that count 0 points because the scorer failed."""
        rows = [*group.dense, *(group.sparse if self.measured else [])]
        return sum(answer.get("score_error") is not None for answer in rows)


def task_metrics(
    dense: Answers, sparse: Answers, work: Work, flops: PlanFlops | None = None
) -> Metrics:
    """The fields of the result schema that come from paired answers: `data`, `tasks`,
    `categories`, `buckets`, `mean`, `category_mean`, `gold`, `at_chance` and `scorer_failures`.

    `flops`: of the plan's sparse blocks, for `flops_used`. For a dense run pass the same list
    twice.
    """
    paired = PairedAnswers(dense, sparse, work)
    if paired.at_chance:
        logger.warning(
            "the dense model scores at or below chance, so these tasks are outside the means of "
            "scores: %s",
            ", ".join(paired.at_chance),
        )
    categories = dict.fromkeys(spec.category for spec, _ in paired.headline(work))
    extended = [(spec, records) for spec, records in work if spec.length_buckets]
    buckets = {
        name: paired.mean(
            [
                (spec, [r for r in records if bucket_of(r.length) == name])
                for spec, records in extended
            ]
        )
        for name in BUCKETS
    }
    tasks = {spec.name: paired.task(spec, records, flops) for spec, records in work}
    return {
        "data": data_name(work),
        "tasks": tasks,
        "scorer_failures": sum(task["scorer_failures"] for task in tasks.values()),
        "categories": {
            name: paired.mean([(s, r) for s, r in work if s.category == name])
            for name in categories
        },
        "buckets": buckets if extended else None,
        "mean": paired.mean(work),
        "category_mean": paired.category_mean(work),
        "gold": paired.gold(work),
        "at_chance": paired.at_chance,
    }
