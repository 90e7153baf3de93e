"""Thresholds from the quantiles that calibration text left in a plan."""

from torch import Tensor


def threshold(levels: Tensor, share: float) -> float:
    """The value that a `share` of the calibration values does not exceed; levels [n] are quantiles
    in even steps.
    """
    place = share * (len(levels) - 1)
    low = min(int(place), len(levels) - 2)
    weight = place - low
    return float(levels[low] * (1 - weight) + levels[low + 1] * weight)
