"""Bootstrap intervals: stratified, paired, of means and of ratios of means."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# means [..., groups, columns] -> value [...]
Statistic = Callable[[Array], Array]

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """Value of a statistic, the ends of its interval, and its standard error.

    Ends are None if no group has two units, or if they cannot be bounded: so many resamples leave
    the statistic undefined (a denominator that is not positive) that they may lie anywhere.
    """

    value: float
    low: float | None
    high: float | None
    standard_error: float | None


def weighted(column: Array, weights: Array | None) -> Array:
    """Mean over groups [..., groups], or their sum with weights [groups]."""
    return column.mean(-1) if weights is None else column @ weights


def mean_of_groups(weights: Array | None = None) -> Statistic:
    """The statistic "mean over groups of the first column"; without weights all count the same."""
    return lambda means: weighted(means[..., 0], weights)


def ratio_of_groups(weights: Array | None = None) -> Statistic:
    """The statistic "first column over the second", each a mean over groups; nan (undefined) if the
    second is not positive.
    """

    def ratio(means: Array) -> Array:
        above, below = (weighted(means[..., column], weights) for column in (0, 1))
        return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)

    return ratio


def resampled_means(groups: Sequence[Array], resamples: int, seed: int) -> Array:
    """Means [resamples, groups, columns] of units drawn with replacement within each group."""
    generator = np.random.default_rng(seed)
    return np.stack(
        [
            group[generator.integers(0, len(group), (resamples, len(group)))].mean(1)
            for group in groups
        ],
        axis=1,
    )


def quantile(draws: Array, share: float) -> float | None:
    """A quantile of the draws in which undefined ones (nan) lie beyond that end; None if it falls
    among them.
    """
    beyond = -np.inf if share < 0.5 else np.inf
    value = float(np.quantile(np.where(np.isnan(draws), beyond, draws), share, method="nearest"))
    return value if np.isfinite(value) else None


def acceleration(groups: Sequence[Array], statistic: Statistic) -> float:
    """BCa's acceleration, from the jackknife over the units of every group that has two."""
    means = np.stack([group.mean(0) for group in groups])
    deviations = []
    for number, group in enumerate(groups):
        if len(group) < 2:
            continue
        without = np.repeat(means[None], len(group), axis=0)
        without[:, number] = (group.sum(0) - group) / (len(group) - 1)
        values = statistic(without)
        deviations.append((values.mean() - values) * (len(group) - 1) / len(group))
    flat = np.concatenate(deviations)
    squares = float((flat**2).sum())
    return float((flat**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0


def bca_shares(
    groups: Sequence[Array], statistic: Statistic, draws: Array, value: float, shares: Array
) -> Array:
    """Shares of the draws between which a bias-corrected and accelerated interval lies (Efron
    1987, DiCiccio and Efron 1996).
    """
    normal = NormalDist()
    # Half of the ties count as below, which matters for scores of 0 and 100.
    below = float((draws < value).mean() + (draws == value).mean() / 2)
    if not 0 < below < 1:
        return shares
    bias, a = normal.inv_cdf(below), acceleration(groups, statistic)
    if not np.isfinite(a):
        return shares
    corrected = []
    for share in shares:
        z = bias + normal.inv_cdf(float(share))
        corrected.append(normal.cdf(bias + z / (1 - a * z)))
    return np.array(corrected)


def bootstrap(
    groups: Sequence[Array],
    statistic: Statistic | None = None,
    *,
    method: str = "bca",
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of a statistic of the groups' means.

    `groups`: one array per group (a task, a text), [units] or [units, columns]; a unit is what is
    independent (a record, a document). Units are drawn within their group (stratified); the columns
    of a unit stay together (paired), so that differences and ratios of both sides come from the
    same units. `statistic` maps means [..., groups, columns] to values [...] (default: mean over
    groups); nan means undefined.
    `method`: "bca", or "percentile" for statistics that resamples may leave undefined. The result
    depends on `seed` and the data alone. Raises ValueError for an unknown method or no units.
    """
    if method not in ("bca", "percentile"):
        raise ValueError(f"method: {method!r} is unknown; valid: bca, percentile")
    if not groups or not all(len(group) for group in groups):
        raise ValueError("groups: a bootstrap needs at least one group, and a unit in each")
    statistic = statistic or mean_of_groups()
    tables = [np.asarray(group, dtype=np.float64).reshape(len(group), -1) for group in groups]
    value = float(statistic(np.stack([table.mean(0) for table in tables])))
    if np.isnan(value) or max(map(len, tables)) < 2:
        return Interval(value, None, None, None)
    draws = statistic(resampled_means(tables, resamples, seed))
    shares = np.array([(1 - level) / 2, (1 + level) / 2])
    if method == "bca" and not np.isnan(draws).any():
        shares = bca_shares(tables, statistic, draws, value, shares)
    low, high = (quantile(draws, float(share)) for share in shares)
    error = float(draws.std(ddof=1))
    return Interval(value, low, high, None if np.isnan(error) else error)
