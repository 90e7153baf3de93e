"""`early_terminate` of a W&B sweep file: which trials of a search end before they are measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ETA = 3  # W&B's default
KEYS = {"type", "min_iter", "max_iter", "s", "eta"}
# the only metric that is logged while a run is measured
LIVE_METRIC = "objective"


@dataclass(frozen=True)
class EarlyTerminate:
    """A trial is compared after `min_iter`, `min_iter * eta`, `min_iter * eta**2`... logged values,
    and continues if it is among the best 1 / `eta` of those that came so far.
    """

    min_iter: int
    eta: int


def early_terminate_of(raw: Mapping[str, Any] | None) -> EarlyTerminate | None:
    """The file's `early_terminate`, which has no problems; None without one. `max_iter` with `s`
    brackets starts at max_iter / eta**s.
    """
    if raw is None:
        return None
    eta = raw.get("eta", ETA)
    if "min_iter" in raw:
        return EarlyTerminate(raw["min_iter"], eta)
    return EarlyTerminate(max(1, raw["max_iter"] // eta ** raw["s"]), eta)


def early_terminate_problems(raw: Any, method: str, metric: str | None) -> Iterator[str]:
    """Every reason why trials cannot be ended early here, one sentence each."""
    if raw is None:
        return
    if method != "bayes":
        yield (
            f"early_terminate: a local {method} search runs every trial to its end; leave it out, "
            "or choose method: bayes"
        )
        return
    if not isinstance(raw, dict) or raw.get("type") != "hyperband":
        yield "early_terminate: give a mapping with type: hyperband and min_iter"
        return
    if unknown := sorted(set(raw) - KEYS):
        yield f"early_terminate.{unknown[0]} is not known here; choose {', '.join(sorted(KEYS))}"
    if ("min_iter" in raw) == ("max_iter" in raw) or ("max_iter" in raw) != ("s" in raw):
        yield "early_terminate: give either min_iter, or max_iter and s"
    for name, least in (("min_iter", 1), ("max_iter", 1), ("s", 1), ("eta", 2)):
        value = raw.get(name, least)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            yield f"early_terminate.{name} is {value!r}; give a whole number of at least {least}"
    if metric != LIVE_METRIC:
        yield (
            f"early_terminate: needs metric {LIVE_METRIC}, the only one that is logged during a "
            "run; leave it out for another metric"
        )
