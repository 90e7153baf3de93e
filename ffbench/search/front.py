"""The Pareto front of a search: trade-offs that are told apart by more than noise."""

from collections.abc import Sequence

from ffbench.search.objectives import Measured, Objective, interval


def clearly_better(first: Measured, second: Measured, maximize: bool = False) -> bool:
    """Whether `first` beats `second` by more than noise.

    Two runs on the same documents are compared document by document: the 95% interval of their
    difference leaves out 0. Others are told apart if their intervals do not overlap. Values without
    an interval are never told apart.
    """
    better = first.value > second.value if maximize else first.value < second.value
    if not better:
        return False
    if first.units and first.units.keys() == second.units.keys():
        found = interval({unit: value - second.units[unit] for unit, value in first.units.items()})
        return found.low is not None and found.high is not None and not found.low <= 0 <= found.high
    lower, higher = (second, first) if maximize else (first, second)
    return lower.high is not None and higher.low is not None and lower.high < higher.low


def dominates(
    first: Sequence[Measured], second: Sequence[Measured], objectives: Sequence[Objective]
) -> bool:
    """Whether `first` is at least as good in every objective by its values, and better in one."""
    signs = [-1 if objective.maximize else 1 for objective in objectives]
    pairs = [
        (sign * a.value, sign * b.value) for sign, a, b in zip(signs, first, second, strict=True)
    ]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def front(points: Sequence[Sequence[Measured]], objectives: Sequence[Objective]) -> list[int]:
    """Positions of the points on the front, by the last objective's value, best first.

    Points that another one dominates are left out. Of two that remain, one is left out unless each
    clearly beats the other in an objective: the one that clearly beats nothing of the other, or, if
    neither does, the one with the greater loss (the first objective's value).
    """
    kept = [
        number
        for number, point in enumerate(points)
        if not any(dominates(other, point, objectives) for other in points)
    ]
    last, first = objectives[-1], objectives[0]

    def order(number: int) -> tuple[float, int]:
        value = points[number][-1].value
        return (-value if last.maximize else value, number)

    def loss(number: int) -> tuple[float, int]:
        value = points[number][0].value
        return (-value if first.maximize else value, number)

    def beats(a: int, b: int) -> bool:
        return any(
            clearly_better(x, y, objective.maximize)
            for x, y, objective in zip(points[a], points[b], objectives, strict=True)
        )

    kept.sort(key=loss)
    supported: list[int] = []
    for number in kept:
        rivals = [(beats(number, other), beats(other, number)) for other in supported]
        if any(not wins for wins, _ in rivals):
            continue
        supported = [other for other, (_, loses) in zip(supported, rivals, strict=True) if loses]
        supported.append(number)
    return sorted(supported, key=order)
