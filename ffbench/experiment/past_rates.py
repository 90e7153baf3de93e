"""How fast the stages of past runs went, for estimates of what new ones will take."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from ffbench.experiment.estimates import stage_flops
from ffbench.models.sizes import ModelSizes
from ffbench.settings import RunSettings

LOADING = "load"


@dataclass(frozen=True)
class PastRun:
    """A finished run: its settings, the seconds of its stages, and whether it was marked busy:
    other work ran on the machine while its speed was measured.
    """

    settings: RunSettings
    cost: Mapping[str, float]
    busy: bool


def quiet_stages(runs: Sequence[PastRun]) -> Iterator[tuple[PastRun, str, float]]:
    """Every stage that was measured in runs that are not marked busy, with its seconds; loading is
    left out.

    Runs that share a stage have the same seconds of it: it counts once, and not if one of them is
    marked busy.
    """
    seen = {item for run in runs if run.busy for item in run.cost.items()}
    for run in runs:
        for stage, seconds in run.cost.items():
            if stage != LOADING and seconds > 0 and (stage, seconds) not in seen:
                seen.add((stage, seconds))
                yield run, stage, seconds


def stage_rates(runs: Sequence[PastRun], sizes: ModelSizes) -> dict[str, float]:
    """FLOP/s by stage: medians over past runs of a model of these sizes."""
    rates: dict[str, list[float]] = {}
    for run, stage, seconds in quiet_stages(runs):
        flops = stage_flops(run.settings, sizes).get(stage)
        if flops:
            rates.setdefault(stage, []).append(flops / seconds)
    return {stage: median(values) for stage, values in rates.items()}


def uncounted_seconds(runs: Sequence[PastRun], counted: Collection[str]) -> dict[str, float]:
    """Median seconds by stage of those whose FLOPs nobody counts."""
    seconds: dict[str, list[float]] = {}
    for _, stage, value in quiet_stages(runs):
        if stage not in counted:
            seconds.setdefault(stage, []).append(value)
    return {stage: median(values) for stage, values in seconds.items()}
