"""Figures of a run from paired answers: per task, category and length bucket, with bootstrap
intervals.
"""

from typing import Any

import numpy as np

from ffbench.tasks.base import TaskRecord, TaskSpec

RESAMPLES = 2000
BUCKETS = {
    "0-4k": 4000,
    "4-8k": 8000,
    "8k+": None,
}  # LongBench-E's: words below the bound, as the record states them
Answers = list[dict[str, Any]]
Pairs = tuple[np.ndarray, np.ndarray]


def interval(groups: list[np.ndarray], seed: int = 0) -> tuple[float, float]:
    """95% percentile bootstrap interval of the mean over groups of each group's mean; records drawn
    within groups.
    """
    generator = np.random.default_rng(seed)
    draws = np.mean(
        [
            group[generator.integers(0, len(group), (RESAMPLES, len(group)))].mean(1)
            for group in groups
        ],
        axis=0,
    )
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def change(
    name: str, value: float, low: float, high: float, reference: float
) -> dict[str, float | None]:
    """`name_abs` and `name_rel` (to `reference`; null where that is 0) with the ends of their
    intervals.
    """
    found: dict[str, float | None] = {
        f"{name}_abs": value,
        f"{name}_abs_low": low,
        f"{name}_abs_high": high,
    }
    return found | {
        key.replace("_abs", "_rel"): one / reference if reference and one is not None else None
        for key, one in found.items()
    }


def figures_of(groups: list[Answers], dense: list[Answers]) -> dict[str, Any]:
    """Figures over groups of answers (tasks): means of the groups' means; the dense answers are of
    the same records.
    """

    def column(side: list[Answers], field: str) -> list[np.ndarray]:
        return [np.array([answer[field] for answer in group]) for group in side]

    def mean(arrays: list[np.ndarray]) -> float:
        return float(np.mean([array.mean() for array in arrays]))

    before, after = column(dense, "score"), column(groups, "score")
    nll_before, nll_after = column(dense, "nll"), column(groups, "nll")
    lost = [b - a for a, b in zip(after, before, strict=True)]
    gained = [a - b for a, b in zip(nll_after, nll_before, strict=True)]
    score_dense, nll_dense = mean(before), mean(nll_before)
    return {
        "n": sum(map(len, groups)),
        "score": mean(after),
        "score_dense": score_dense,
        "nll": mean(nll_after),
        "nll_dense": nll_dense,
        **change("loss", mean(lost), *interval(lost), score_dense),
        **change("nll_gain", mean(gained), *interval(gained), nll_dense),
    }


def bucket_of(length: int) -> str:
    """The bucket of a record of `length` words."""
    return next(name for name, bound in BUCKETS.items() if bound is None or length < bound)


def is_extended(spec: TaskSpec) -> bool:
    """Whether a task belongs to LongBench-E."""
    return spec.published is not None and spec.name.endswith("_e")


def data_name(work: list[tuple[TaskSpec, list[TaskRecord]]]) -> str | None:
    """What the LongBench records are, "subset of" said where a task lacks some; None for other
    tasks.
    """
    tasks = [(spec, records) for spec, records in work if spec.published is not None]
    suites = [
        name
        for name, extended in (("LongBench", False), ("LongBench-E", True))
        if any(is_extended(spec) == extended for spec, _ in tasks)
    ]
    part = any(len(records) < (spec.published or 0) for spec, records in tasks)
    return ("subset of " if part else "") + " and ".join(suites) if suites else None


class Paired:
    """Answers of the same records, dense and sparse."""

    def __init__(self, dense: Answers, sparse: Answers) -> None:
        self.dense, self.sparse = (
            {(a["task"], a["record_id"]): a for a in side} for side in (dense, sparse)
        )
        self.measured = dense is not sparse

    def of(self, spec: TaskSpec, records: list[TaskRecord]) -> tuple[Answers, Answers]:
        """Sparse and dense answers of a task's records."""
        keys = [(spec.name, record.record_id) for record in records]
        return [self.sparse[key] for key in keys], [self.dense[key] for key in keys]

    def over(self, groups: list[tuple[TaskSpec, list[TaskRecord]]]) -> dict[str, Any] | None:
        """Figures over the headline tasks of `groups` that have records; None where there is
        none.
        """
        chosen = [self.of(spec, records) for spec, records in groups if spec.headline and records]
        return figures_of([a for a, _ in chosen], [b for _, b in chosen]) if chosen else None

    def task(self, spec: TaskSpec, records: list[TaskRecord]) -> dict[str, Any]:
        """Figures of one task."""
        answers, dense = self.of(spec, records)
        cut = [answer["tokens_cut"] for answer in answers if answer["tokens_cut"]]
        density = (
            float(np.mean([answer["density"] for answer in answers])) if self.measured else 1.0
        )
        buckets = {
            name: figures_of([self.of(spec, part)[0]], [self.of(spec, part)[1]])
            for name in BUCKETS
            if (part := [r for r in records if bucket_of(r.length) == name])
        }
        return figures_of([answers], [dense]) | {
            "metric": spec.metric,
            "category": spec.category,
            "chance": spec.chance(records),
            "headline": spec.headline,
            "truncated": len(cut),
            "tokens_cut": sum(cut) / len(cut) if cut else 0.0,
            "prompt_tokens": float(np.mean([answer["prompt_tokens"] for answer in answers])),
            "density_used": density,
            "buckets": buckets if is_extended(spec) else None,
        }


def task_figures(
    dense: Answers, sparse: Answers, work: list[tuple[TaskSpec, list[TaskRecord]]]
) -> dict[str, Any]:
    """Fields `data`, `tasks`, `categories`, `buckets` and `mean` of the result schema from paired
    answers.
    """
    paired = Paired(dense, sparse)
    categories = dict.fromkeys(spec.category for spec, _ in work if spec.headline)
    extended = [(spec, records) for spec, records in work if is_extended(spec)]
    buckets = {
        name: paired.over(
            [
                (spec, [r for r in records if bucket_of(r.length) == name])
                for spec, records in extended
            ]
        )
        for name in BUCKETS
    }
    return {
        "data": data_name(work),
        "tasks": {spec.name: paired.task(spec, records) for spec, records in work},
        "categories": {
            name: paired.over([(s, r) for s, r in work if s.category == name])
            for name in categories
        },
        "buckets": buckets if extended else None,
        "mean": paired.over(work),
    }
