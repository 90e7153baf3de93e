"""Metrics of groups of paired answers: scores, losses, gold likelihoods, and their intervals."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ffbench.evaluation.bootstrap import (
    Array,
    Interval,
    Statistic,
    bootstrap,
    mean_of_groups,
    ratio_of_groups,
)

CLAIM = 0.06  # the paper's abstract: a relative loss under 6%
Z = 1.96  # standard errors on each side of a 95% interval

Answers = list[dict[str, Any]]
Metrics = dict[str, Any]


@dataclass(frozen=True)
class Group:
    """Answers of the same records of one task, sparse and dense, and the task's chance in points
    (None: not known).
    """

    sparse: Answers
    dense: Answers
    chance: float | None

    def column(self, field: str, dense: bool = False) -> Array:
        """One field of all answers, [n]."""
        return np.array([answer[field] for answer in (self.dense if dense else self.sparse)], float)

    @property
    def scored(self) -> bool:
        """Whether answers were decoded on both sides."""
        return all(answer["score"] is not None for answer in (*self.sparse, *self.dense))

    @property
    def above_chance(self) -> bool | None:
        """Whether the dense model beats a guess; None if that is not known."""
        if self.chance is None or not self.scored:
            return None
        return bool(self.column("score", dense=True).mean() > self.chance)


def ends(name: str, interval: Interval) -> Metrics:
    """`name` with the ends of its interval; null if the value is not defined."""
    value = None if math.isnan(interval.value) else interval.value
    return {name: value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def average(columns: list[Array], weights: Array | None) -> float:
    """Mean over groups of each group's mean, or their sum with weights."""
    means = np.array([column.mean() for column in columns])
    return float(means.mean() if weights is None else means @ weights)


def score_metrics(groups: list[Group], weights: Array | None) -> tuple[Metrics, float | None]:
    """Scores, losses and chance in points, and the standard error of the relative loss.

    The losses' intervals are paired; those of ratios resample the denominator too.
    """
    dense = [group.column("score", dense=True) for group in groups]
    sparse = [group.column("score") for group in groups]
    lost = [before - after for before, after in zip(dense, sparse, strict=True)]
    mean, ratio = mean_of_groups(weights), ratio_of_groups(weights)
    relative = over(lost, dense, ratio)
    found: Metrics = {
        "score": average(sparse, weights),
        "score_dense": average(dense, weights),
        **ends("loss_abs", bootstrap(lost, mean)),
        **ends("loss_rel", relative),
        "chance": None,
        **dict.fromkeys(f"loss_over_chance{end}" for end in ("", "_low", "_high")),
    }
    chances = [group.chance for group in groups if group.chance is not None]
    if len(chances) == len(groups):
        above = [score - chance for score, chance in zip(dense, chances, strict=True)]
        found["chance"] = average([np.array([chance]) for chance in chances], weights)
        found |= ends("loss_over_chance", over(lost, above, ratio))
    return found, relative.standard_error


def over(numerators: list[Array], denominators: list[Array], ratio: Statistic) -> Interval:
    """Interval of a ratio of means of paired columns."""
    pairs = [np.stack(pair, 1) for pair in zip(numerators, denominators, strict=True)]
    return bootstrap(pairs, ratio, method="percentile")


def gold_metrics(groups: list[Group], weights: Array | None) -> Metrics:
    """Negative log-likelihood of the gold answers (nats per token), its increase, and the ratio of
    the perplexities, the primary metric: it moves where scores of a small model do not.
    """
    dense = [group.column("nll", dense=True) for group in groups]
    sparse = [group.column("nll") for group in groups]
    added = [after - before for before, after in zip(dense, sparse, strict=True)]
    increase = ends("nll_increase_abs", bootstrap(added, mean_of_groups(weights)))
    ratios = {
        name.replace("nll_increase_abs", "gold_ppl_ratio"): (
            None if value is None else math.exp(value)
        )
        for name, value in increase.items()
    }
    relative = over(added, dense, ratio_of_groups(weights))
    return {
        "nll": average(sparse, weights),
        "nll_dense": average(dense, weights),
        **increase,
        **ends("nll_increase_rel", relative),
        **ratios,
    }


NOT_SCORED = dict.fromkeys(
    (
        "score",
        "score_dense",
        "chance",
        *(
            name + end
            for name in ("loss_abs", "loss_rel", "loss_over_chance")
            for end in ("", "_low", "_high")
        ),
    )
)


def records_needed(n: int, standard_error: float, margin: float) -> int | None:
    """Records at which a 95% interval is no wider than `margin` on each side, more of the same kind
    in every task; None if the margin is not positive.
    """
    return math.ceil(n * (Z * standard_error / margin) ** 2) if margin > 0 else None


def power(n: int, loss: float | None, standard_error: float | None) -> Metrics | None:
    """What a claim that the relative loss is under CLAIM needs: the measured standard error, and
    the records at which the interval's upper end falls below CLAIM, if the true loss is the
    measured one (null: it never does) and if it is 0.
    """
    if loss is None or standard_error is None:
        return None
    return {
        "claim": CLAIM,
        "loss_rel_se": standard_error,
        "records_if_loss_is_as_measured": records_needed(n, standard_error, CLAIM - loss),
        "records_if_loss_is_0": records_needed(n, standard_error, CLAIM),
    }


def group_metrics(groups: list[Group], weights: Array | None = None) -> Metrics:
    """Metrics over groups of answers (tasks): means of the groups' means, or sums with weights."""
    n = sum(len(group.sparse) for group in groups)
    scores, error = NOT_SCORED, None
    if all(group.scored for group in groups):
        scores, error = score_metrics(groups, weights)
    return {
        "n": n,
        **scores,
        **gold_metrics(groups, weights),
        "power": power(n, scores["loss_rel"], error),
    }
