"""What a search minimises: numbers of a result with their intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ffbench.evaluation.bootstrap import Interval, bootstrap
from ffbench.tracking.early_terminate import LIVE_METRIC
from ffbench.tracking.mirror import metrics, result_objective

PROMPT = "prompt"
# objective -> heading of its column
NAMED = {
    "answer_kl": "answer KL (mean of tails)",
    "time": "time to first token / dense",
    "flops": "FFN FLOPs / dense",
}
Unit = tuple[str, str, int]


@dataclass(frozen=True)
class Measured:
    """A value and the ends of its interval, None if they are not known; both are the value if it is
    counted and not measured.

    `units` holds the values of single documents by (text, document, context), so that two runs are
    compared on the same documents.
    """

    value: float
    low: float | None = None
    high: float | None = None
    units: Mapping[Unit, float] = field(default_factory=dict)

    def text(self) -> str:
        """The value with its interval."""
        if self.low is None or self.high is None or self.low == self.high == self.value:
            return f"{self.value:.4g}"
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


@dataclass(frozen=True)
class Objective:
    """`name` is one of NAMED, or a metric's path in a result, such as fidelity/tails/copy/kl."""

    name: str
    maximize: bool = False

    @property
    def heading(self) -> str:
        """Title of its column."""
        return NAMED.get(self.name, self.name)

    def needs(self) -> str | None:
        """The part of a run that measures it: fidelity or speed; None for another."""
        if self.name in ("answer_kl", "flops", LIVE_METRIC):
            return "fidelity"
        if self.name == "time":
            return "speed"
        part = self.name.partition("/")[0]
        return part if part in ("fidelity", "speed") else None

    def of(self, result: Mapping[str, Any]) -> Measured | None:
        """Its value in a result.json; None if it was not measured. Dense is 0 away from itself, at
        time and FLOPs 1.
        """
        if self.name in NAMED and result.get("sparsity") == 0:
            own = 0.0 if self.name == "answer_kl" else 1.0
            return Measured(own, own, own)
        if self.name == "answer_kl":
            return answer_kl((result.get("fidelity") or {}).get("rows") or [])
        if self.name == "time":
            return relative_time(result)
        if self.name == "flops":
            value = (result.get("fidelity") or {}).get("flops_used")
            return None if value is None else Measured(value, value, value)
        if self.name == LIVE_METRIC:
            return kl_and_flops(result)
        return path_value(self.name, result)


def answer_kl(rows: Sequence[Mapping[str, Any]]) -> Measured | None:
    """KL to dense, nats per token: the mean over the tails of each document and context, then over
    documents and texts, with its 95% BCa interval over documents within texts.
    """
    values: dict[Unit, list[float]] = {}
    for row in rows:
        if row["tail"] != PROMPT:
            unit = (row["text"], row["document"], row["context"])
            values.setdefault(unit, []).append(row["kl"])
    if not values:
        return None
    units = {unit: float(np.mean(several)) for unit, several in values.items()}
    found = interval(units)
    return Measured(found.value, found.low, found.high, units)


def interval(units: Mapping[Unit, float]) -> Interval:
    """Mean over texts of the mean over their documents, with its interval. The contexts of a
    document are one unit, since they share their text.
    """
    documents: dict[tuple[str, str], list[float]] = {}
    for (text, document, _), value in units.items():
        documents.setdefault((text, document), []).append(value)
    texts: dict[str, list[float]] = {}
    for (text, _), several in documents.items():
        texts.setdefault(text, []).append(float(np.mean(several)))
    return bootstrap([np.array(group) for group in texts.values()])


def kl_and_flops(result: Mapping[str, Any]) -> Measured | None:
    """`tracking.mirror.objective` with the interval of its KL; FLOPs are counted, not measured."""
    value = result_objective(dict(result))
    kl = answer_kl((result.get("fidelity") or {}).get("rows") or [])
    if value is None or kl is None:
        return None if value is None else Measured(value)
    flops = result["flops"]["ratio"]
    low, high = (None if end is None else end + flops for end in (kl.low, kl.high))
    return Measured(value, low, high, {unit: one + flops for unit, one in kl.units.items()})


def relative_time(result: Mapping[str, Any]) -> Measured | None:
    """Sparse over dense time to the first token at the first length; lowest to highest process."""
    rows = (result.get("speed") or {}).get("ttft") or []
    if not rows:
        return None
    row = rows[0]
    low, high = (1 / row[end] if row.get(end) else None for end in ("p80", "p20"))
    return Measured(1 / row["ratio"], low, high)


def path_value(path: str, result: Mapping[str, Any]) -> Measured | None:
    """A metric as W&B names it, with the interval next to it."""
    numbers: Any = metrics(dict(result))
    *folders, name = path.split("/")
    for folder in folders:
        numbers = numbers.get(folder)
        if not isinstance(numbers, dict):
            return None
    value = numbers.get(name)
    if not isinstance(value, (int, float)):
        return None
    ends = ("p20", "p80") if name == "ratio" else (f"{name}_low", f"{name}_high")
    return Measured(float(value), *(numbers.get(end) for end in ends))
