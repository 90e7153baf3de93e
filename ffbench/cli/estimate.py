"""What a dry run says about the time that its jobs will take."""

from collections.abc import Sequence

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ffbench.cli.compose import settings_of
from ffbench.experiment.estimates import EFFICIENCY, machine_rate, missing_flops, stage_flops
from ffbench.experiment.identity import model_spec
from ffbench.experiment.past_rates import PastRun, stage_rates, uncounted_seconds
from ffbench.models.sizes import ModelSizes, model_sizes
from ffbench.runs.files import StoreError
from ffbench.runs.progress import duration
from ffbench.runs.run_folder import RunFolder
from ffbench.runs.status import estimate_cost, marked_busy
from ffbench.runs.store import RunStore
from ffbench.settings import RunSettings

MOST_RUNS = 20  # the newest ones: machines and code change


def past_run(run: RunFolder, model: str) -> PastRun | None:
    """A finished sparse run of a model; None if it is not one, or cannot be read any more."""
    try:
        result = run.result()
        if result.get("model") != model or not result.get("sparsity"):
            return None
        settings = settings_of(OmegaConf.create(run.config()))
        stage_flops(settings, ModelSizes(1, 1, 1, 1, 1))  # its records can still be had
    except (StoreError, OmegaConfBaseException, ValueError):
        return None
    cost = {name: seconds for name, seconds in (result.get("cost") or {}).items() if seconds}
    return PastRun(settings, cost, marked_busy(result))


def past_runs(store: RunStore, model: str) -> list[PastRun]:
    """The newest finished sparse runs of a model."""
    newest = sorted(store.runs(), key=lambda run: run.path.stat().st_mtime, reverse=True)
    found = (past_run(run, model) for run in newest)
    return [run for run in found if run][:MOST_RUNS]


def stage_seconds(
    jobs: Sequence[RunSettings], sizes: ModelSizes, runs: Sequence[PastRun]
) -> dict[str, float]:
    """Seconds by stage that jobs of one model still take: FLOPs over the stage's rate in past runs,
    else over this machine's rate now.
    """
    flops = missing_flops(jobs, sizes)
    rates = stage_rates(runs, sizes)
    now = EFFICIENCY * machine_rate(jobs[0]) if set(flops) - set(rates) else 1.0
    seconds = {stage: value / rates.get(stage, now) for stage, value in flops.items()}
    sparse = sum(not job.dense for job in jobs)
    others = uncounted_seconds(runs, stage_flops(jobs[0], sizes))
    return seconds | {stage: sparse * value for stage, value in others.items() if sparse}


def cost_line(jobs: Sequence[RunSettings]) -> str:
    """About how long `jobs` take one after the other, stage by stage."""
    if not jobs:
        return "nothing to do"
    store = RunStore(jobs[0].output_dir)
    seconds: dict[str, float] = {}
    based_on = 0
    for model in dict.fromkeys(settings.model.name for settings in jobs):
        own = [settings for settings in jobs if settings.model.name == model]
        sizes = model_sizes(model_spec(own[0]))
        if sizes is None:
            return estimate_cost(store, len(jobs), model).line()
        runs = past_runs(store, model)
        based_on += sum(not run.busy for run in runs)
        for stage, value in stage_seconds(own, sizes, runs).items():
            seconds[stage] = seconds.get(stage, 0.0) + value
    parts = ", ".join(f"{stage} {duration(value)}" for stage, value in seconds.items())
    source = (
        f"medians of {based_on} past runs, else FLOPs and this machine's speed now"
        if based_on
        else "by FLOPs and this machine's speed now; no past run on a quiet machine to learn from"
    )
    roughly = "about" if based_on else "very roughly"
    return (
        f"{len(jobs)} jobs to do, {roughly} {duration(sum(seconds.values()))} one after the other, "
        f"loading not counted: {parts} ({source})"
    )
