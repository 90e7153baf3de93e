"""The Pareto front: dominated points and noise are left out."""

import numpy as np
import pytest

from ffbench.search.front import clearly_better, dominates, front
from ffbench.search.objectives import Measured, Objective, interval

LOSS, COST = Objective("answer_kl"), Objective("flops")


def exact(value: float) -> Measured:
    return Measured(value, value, value)


def wide(value: float, half: float) -> Measured:
    return Measured(value, value - half, value + half)


def documents(values: list[float]) -> Measured:
    units = {("prose", str(number), 1): value for number, value in enumerate(values)}
    found = interval(units)
    return Measured(found.value, found.low, found.high, units)


def test_values_are_told_apart_by_intervals_that_do_not_overlap() -> None:
    assert clearly_better(wide(1, 0.4), wide(2, 0.4)) and not clearly_better(
        wide(1, 0.6), wide(2, 0.6)
    )
    assert not clearly_better(wide(2, 0.1), wide(1, 0.1))
    assert clearly_better(wide(2, 0.1), wide(1, 0.1), maximize=True)
    assert not clearly_better(Measured(1.0), Measured(2.0))


def test_runs_on_the_same_documents_are_compared_document_by_document() -> None:
    spread = np.random.default_rng(0).normal(1.0, 0.3, 16)
    first, second = documents(list(spread)), documents(list(spread + 0.01))
    assert first.high is not None and second.low is not None and first.high > second.low
    assert clearly_better(first, second) and not clearly_better(second, first)
    shuffled = documents(list(np.roll(spread, 5) + 0.01))
    assert not clearly_better(first, shuffled)


def test_without_noise_the_front_is_that_of_the_values() -> None:
    generator = np.random.default_rng(1)
    values = generator.uniform(size=(60, 2))
    points = [[exact(a), exact(b)] for a, b in values]
    by_hand = {
        i for i, a in enumerate(values) if not any((b <= a).all() and (b < a).any() for b in values)
    }
    found = front(points, [LOSS, COST])
    assert set(found) == by_hand
    assert [values[i][1] for i in found] == sorted(values[i][1] for i in found)


def test_a_loss_that_is_only_noise_lower_buys_no_place() -> None:
    # the second costs more, and its lower loss is noise
    points = [
        [wide(0.20, 0.05), exact(0.5)],
        [wide(0.19, 0.05), exact(0.7)],
        [wide(0.05, 0.01), exact(0.9)],
    ]
    assert front(points, [LOSS, COST]) == [0, 2]


def test_of_two_that_nothing_tells_apart_the_lower_loss_stays() -> None:
    points = [[wide(0.20, 0.05), wide(0.5, 0.1)], [wide(0.19, 0.05), wide(0.55, 0.1)]]
    assert front(points, [LOSS, COST]) == [1]
    assert front([points[0], points[0]], [LOSS, COST]) == [0]


def test_every_pair_on_the_front_is_a_real_trade_off() -> None:
    generator = np.random.default_rng(2)
    objectives = [LOSS, COST]
    points = [[wide(a, 0.05), wide(b, 0.05)] for a, b in generator.uniform(size=(80, 2))]
    found = front(points, objectives)
    assert found
    for i in found:
        for j in found:
            if i != j:
                assert any(clearly_better(x, y) for x, y in zip(points[i], points[j], strict=True))


def test_a_maximised_objective() -> None:
    better, worse = [exact(0.1), exact(2.0)], [exact(0.1), exact(1.0)]
    objectives = [LOSS, Objective("score", maximize=True)]
    assert dominates(better, worse, objectives) and not dominates(worse, better, objectives)
    assert front([worse, better, [exact(0.2), exact(3.0)]], objectives) == [2, 1]


@pytest.mark.parametrize("count", [0, 1])
def test_few_points(count: int) -> None:
    assert front([[exact(1), exact(1)]] * count, [LOSS, COST]) == list(range(count))
