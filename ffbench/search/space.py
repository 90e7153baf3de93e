"""The parameters of a W&B sweep file as Optuna's distributions, and back as overrides."""

import math
from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from ffbench.tracking.sweep_file import Spec, distribution_of, text


class Space:
    """The parameters of a search. Texts, numbers and lists are chosen by their spelling."""

    def __init__(self, parameters: Mapping[str, Spec]) -> None:
        self._parameters = parameters
        self.distributions: dict[str, BaseDistribution] = {
            name: distribution(spec) for name, spec in parameters.items() if "value" not in spec
        }

    def overrides(self, chosen: Mapping[str, Any]) -> list[str]:
        """The overrides of a trial, in the file's order."""
        return [
            f"{name}={self._spelled(name, spec, chosen)}" for name, spec in self._parameters.items()
        ]

    def _spelled(self, name: str, spec: Spec, chosen: Mapping[str, Any]) -> str:
        if "value" in spec:
            return text(spec["value"])
        value = chosen[name]
        if distribution_of(spec) == "q_log_uniform_values" and "values" not in spec:
            value = nearest_multiple(value, *multiples(spec), spec.get("q", 1))
        return str(value)

    def corners(self) -> list[list[str]]:
        """Overrides of trials that hold every listed value and both ends of every range once, so
        that bad ones are found before any work.
        """
        first = {name: ends(one)[0] for name, one in self.distributions.items()}
        every = [
            first | {name: value}
            for name, one in self.distributions.items()
            for value in ends(one)[1:]
        ]
        return [self.overrides(chosen) for chosen in [first, *every]]


def distribution(spec: Spec) -> BaseDistribution:
    """Optuna's distribution of a specification that has no problems.

    The q_ kinds have the multiples of q within the bounds. Optuna knows no steps on a logarithmic
    scale, so q_log_uniform_values is drawn without them and rounded when it is spelled.
    """
    if "values" in spec:
        return CategoricalDistribution(list(dict.fromkeys(map(text, spec["values"]))))
    kind, low, high = distribution_of(spec), spec["min"], spec["max"]
    if kind == "int_uniform":
        return IntDistribution(int(low), int(high))
    if kind == "q_uniform":
        step = spec.get("q", 1)
        low, high = multiples(spec)
        steps = IntDistribution if isinstance(step, int) else FloatDistribution
        return steps(low, high, step=step)
    return FloatDistribution(low, high, log=kind.endswith("log_uniform_values"))


def multiples(spec: Spec) -> tuple[Any, Any]:
    """The least and the greatest multiple of q within the bounds; the bounds if there is none."""
    step = spec.get("q", 1)
    low, high = math.ceil(spec["min"] / step) * step, math.floor(spec["max"] / step) * step
    return (low, high) if low <= high else (spec["min"], spec["max"])


def nearest_multiple(value: float, low: Any, high: Any, step: Any) -> Any:
    """The multiple of `step` nearest to a value, between `low` and `high`."""
    return min(max(round(value / step) * step, low), high)


def ends(one: BaseDistribution) -> list[Any]:
    """Every choice, or both bounds."""
    if isinstance(one, CategoricalDistribution):
        return list(one.choices)
    return [one.low, one.high]  # type: ignore[attr-defined]
