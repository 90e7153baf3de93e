"""Rates of past runs' stages: medians, busy runs left out, shared stages once."""

from dataclasses import replace

from tiny_stages import run_settings

from ffbench.experiment.estimates import stage_flops
from ffbench.experiment.past_rates import PastRun, stage_rates, uncounted_seconds
from ffbench.models.sizes import ModelSizes


def past(tokens: int = 32768, busy: bool = False, **cost: float) -> PastRun:
    settings = run_settings()
    calibration = replace(settings.calibration, tokens=tokens)
    return PastRun(replace(settings, calibration=calibration), cost, busy)


def test_a_rate_is_the_median_over_runs_of_other_sizes_too(sizes: ModelSizes) -> None:
    runs = [past(fit=2.0), past(2048, fit=4.0), past(65536, fit=1.0)]
    flops = sorted(stage_flops(run.settings, sizes)["fit"] / run.cost["fit"] for run in runs)
    assert stage_rates(runs, sizes) == {"fit": flops[1]}


def test_what_busy_runs_measured_does_not_count(sizes: ModelSizes) -> None:
    quiet, busy = past(fit=2.0, fidelity=3.0), past(busy=True, fit=20.0, fidelity=30.0)
    assert stage_rates([quiet, busy, busy], sizes) == stage_rates([quiet], sizes)
    # a stage that a busy run shares was made beside other work, too
    assert set(stage_rates([quiet, past(busy=True, fit=2.0)], sizes)) == {"fidelity"}
    assert stage_rates([busy], sizes) == {}


def test_a_stage_that_runs_share_counts_once(sizes: ModelSizes) -> None:
    shared = [past(fit=9.0)] * 5
    others = [past(fit=1.0), past(fit=2.0)]
    assert stage_rates(shared + others, sizes) == stage_rates([past(fit=2.0)], sizes)


def test_stages_without_flops_have_their_seconds() -> None:
    runs = [past(fit=1.0, wide_speed=5.0, load=9.0), past(wide_speed=7.0), past(wide_speed=30.0)]
    assert uncounted_seconds(runs, {"fit"}) == {"wide_speed": 7.0}
