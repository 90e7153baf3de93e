"""Bootstrap intervals against scipy's, against formulas, and by their coverage."""

import numpy as np
import pytest

from ffbench.evaluation.bootstrap import (
    bootstrap,
    interval,
    mean_of_groups,
    quantile,
    ratio_of_groups,
)

generator = np.random.default_rng(7)
SKEWED = generator.exponential(2.0, 40)
PAIRS = np.stack([generator.normal(5, 2, 60), generator.normal(20, 4, 60)], 1)


# Two bootstraps of R draws differ by chance. A 95% interval's end has the standard error
# sqrt(0.025 * 0.975 / R) / 0.058 of the statistic's deviation, whose 3.9-fold is the width, the
# deviation itself 1 / sqrt(2 R); the difference of two has sqrt(2) times as much. Three of each:
RESAMPLES = 20_000
OF_WIDTH, OF_DEVIATION = 0.02, 0.015


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_the_interval_of_a_mean_is_scipys(method: str) -> None:
    stats = pytest.importorskip("scipy.stats")
    ours = bootstrap([SKEWED], method=method, resamples=RESAMPLES)
    theirs = stats.bootstrap(
        (SKEWED,), np.mean, method=method, n_resamples=RESAMPLES, rng=np.random.default_rng(1)
    )
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert ours.value == pytest.approx(SKEWED.mean())
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=OF_WIDTH * width)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=OF_WIDTH * width)
    assert ours.standard_error == pytest.approx(theirs.standard_error, rel=OF_DEVIATION)


def test_bca_and_percentile_differ_on_skewed_data_as_they_should() -> None:
    bca, percentile = (bootstrap([SKEWED], method=m) for m in ("bca", "percentile"))
    assert bca.low > percentile.low and bca.high > percentile.high


def test_a_paired_ratio_is_scipys_and_resamples_its_denominator() -> None:
    stats = pytest.importorskip("scipy.stats")
    ours = bootstrap([PAIRS], ratio_of_groups(), method="percentile", resamples=RESAMPLES)
    theirs = stats.bootstrap(
        (PAIRS[:, 0], PAIRS[:, 1]),
        lambda a, b, axis: a.mean(axis) / b.mean(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(1),
    )
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=OF_WIDTH * width)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=OF_WIDTH * width)
    fixed = bootstrap([PAIRS[:, 0] / PAIRS[:, 1].mean()], method="percentile")
    assert ours.high - ours.low != pytest.approx(fixed.high - fixed.low, rel=1e-3)


def test_groups_count_the_same_and_units_are_drawn_within_them() -> None:
    groups = [np.zeros(50), np.full(3, 6.0), np.array([1.0, 5.0])]
    found = bootstrap(groups, method="percentile")
    assert found.value == pytest.approx(3.0)
    # Only the third group varies: its mean is 1, 3 or 5.
    assert found.low == pytest.approx((6 + 1) / 3) and found.high == pytest.approx((6 + 5) / 3)
    parts = [generator.normal(0, 1, 400), generator.normal(0, 3, 100)]
    exact = (sum(part.var() / len(part) for part in parts) / 4) ** 0.5
    found = bootstrap(parts, resamples=RESAMPLES).standard_error
    assert found == pytest.approx(exact, rel=OF_DEVIATION)


def test_weights_of_groups() -> None:
    groups = [np.array([[1.0, 2.0], [3.0, 2.0]]), np.array([[6.0, 8.0]])]
    weights = np.array([0.25, 0.75])
    assert bootstrap(groups, mean_of_groups(weights)).value == pytest.approx(0.5 + 4.5)
    assert bootstrap(groups, ratio_of_groups(weights)).value == pytest.approx(5.0 / 6.5)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_about_95_of_100_intervals_hold_the_truth(method: str) -> None:
    draws = np.random.default_rng(3)
    held = 0
    for seed in range(200):
        found = bootstrap(
            [draws.normal(1, 1, 25), draws.normal(2, 1, 25)],
            method=method,
            seed=seed,
            resamples=500,
        )
        held += found.low <= 1.5 <= found.high
    assert 180 <= held <= 199


def test_denominators_that_may_be_nothing_leave_an_end_open() -> None:
    few = np.array([[1.0, 0.0]] * 18 + [[1.0, 100.0]] * 2)  # 12% of resamples have only zeros
    found = bootstrap([few], ratio_of_groups(), method="percentile")
    assert found.value == pytest.approx(0.1)
    assert found.low is None and found.high is None and found.standard_error is None
    many = np.array([[1.0, 0.0]] * 12 + [[1.0, 100.0]] * 8)
    found = bootstrap([many], ratio_of_groups(), method="percentile")
    assert found.low is not None and found.low < 1 / 40 < found.high
    assert np.isnan(bootstrap([few[:18]], ratio_of_groups()).value)


def test_undefined_draws_lie_beyond_each_end() -> None:
    draws = np.array([np.nan, *np.arange(99.0)])
    assert quantile(draws, 0.025) == pytest.approx(1.0) and quantile(draws, 0.975) == 97
    assert quantile(np.array([np.nan, 1.0]), 0.025) is None


def test_ends_of_the_interval_of_a_mean() -> None:
    found = bootstrap([SKEWED, SKEWED + 1])
    assert interval([SKEWED, SKEWED + 1]) == (found.low, found.high)
    assert interval([np.array([1.0])]) == (None, None)


def test_single_units_have_no_interval_and_the_seed_decides() -> None:
    assert bootstrap([np.array([3.0])]).low is None
    assert bootstrap([np.full(9, 2.0)]).low == 2.0 == bootstrap([np.full(9, 2.0)]).high
    assert bootstrap([SKEWED], seed=1) == bootstrap([SKEWED], seed=1) != bootstrap([SKEWED])


@pytest.mark.parametrize(
    ("groups", "options", "words"),
    [
        ([], {}, "at least one group"),
        ([np.zeros(2), np.zeros(0)], {}, "a unit in each"),
        ([np.zeros(2)], {"method": "magic"}, "method: 'magic' is unknown; valid: bca, percentile"),
    ],
)
def test_refusals(groups: list, options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bootstrap(groups, mean_of_groups(), **options)
