"""Keys of stages: what they hold, what they do not, and what a raised version changes."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_stages import run_settings

from ffbench import plugins
from ffbench.experiment.declarations import DECLARATIONS
from ffbench.experiment.fidelity_cases import fidelity_cases
from ffbench.experiment.stages import RunStages, run_key
from ffbench.models.loading import ModelSpec, load_tiny
from ffbench.plugins import Plugin
from ffbench.runs.stage import Stage
from ffbench.settings import (
    CalibrationSettings,
    FidelitySettings,
    KernelSettings,
    ModelSettings,
    RunSettings,
    SpeedSettings,
    TaskSettings,
    TrackerSettings,
)
from ffbench.training.token_mixing import MIXING_TOKENS

TUNED = {"name": "surrogate", "output_map_rank": 4, "tune_steps": 3}
CASES: dict[str, dict[str, Any]] = {
    "tuned": {"compensator": TUNED, "scheduler": "curvature", "group_size": 16},
    "refit": {"compensator": "lowrank", "scheduler": "sensitivity"},
    "mixing": {"compensator": "bias", "scheduler": "token_mixing"},
    "dense": {"sparsity": 0.0},
}
MACHINE = {"cpu": "a", "device": "cpu", "threads": 1, "backend": "torch"}


TASK = TaskSettings(name="embedded", tasks=["embedded_code"], limit=1, max_length=2048)


def graph(**changes: Any) -> dict[str, Stage]:
    """Every stage of a run by name; the text that fidelity reads is another one than the fits'."""
    run = RunStages(run_settings(**({"task": TASK} | changes)))
    nodes: dict[str, Stage] = {}
    timed = () if run.settings.dense else (run.speed(MACHINE), run.wide_speed(MACHINE))
    for last in (run.run, *timed):
        for stage in last.all():
            name = "heldout" if stage.name == "text" and "part" in stage.parameters else stage.name
            nodes[name] = stage
    return nodes


def made_from(stage: Stage, name: str) -> bool:
    return any(part.name == name for part in stage.all())


def test_every_declared_stage_is_in_a_run() -> None:
    seen = {stage.name for case in CASES.values() for stage in graph(**case).values()}
    assert seen == set(DECLARATIONS)


@pytest.mark.parametrize("raised", DECLARATIONS)
@pytest.mark.parametrize("case", CASES)
def test_a_raised_version_changes_every_key_downstream_and_no_other(
    raised: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = graph(**CASES[case])
    declaration = replace(DECLARATIONS[raised], version=DECLARATIONS[raised].version + 1)
    monkeypatch.setitem(DECLARATIONS, raised, declaration)
    after = graph(**CASES[case])
    assert before.keys() == after.keys()
    for name, stage in before.items():
        assert (stage.key != after[name].key) == made_from(stage, raised), name


def test_the_run_depends_on_all_but_speed() -> None:
    for case in CASES.values():
        nodes = graph(**case)
        below = {stage.name for stage in nodes["run"].all()}
        assert below == {stage.name for stage in nodes.values()} - {"speed", "wide_speed"}


SAME: dict[str, dict[str, Any]] = {
    "threads without speed": {"kernel": KernelSettings(threads=7)},
    "backend without speed": {"kernel": KernelSettings(backend="reference")},
    "output_dir": {"output_dir": "elsewhere"},
    "tracker": {"tracker": TrackerSettings(kind="wandb")},
}


@pytest.mark.parametrize("change", SAME)
def test_what_changes_no_result_is_in_no_key(change: str) -> None:
    plain: dict[str, Any] = {"speed": SpeedSettings(rounds=0)}
    assert run_key(run_settings(**plain)) == run_key(run_settings(**(plain | SAME[change])))


OTHER: dict[str, dict[str, Any]] = {
    "selector": {"selector": "static"},
    "selector parameter": {"selector": {"name": "probe", "share": 0.5}},
    "compensator rank": {"compensator": {"name": "surrogate", "rank": 9}},
    "output map": {"compensator": {"name": "surrogate", "output_map_rank": 2}},
    "scheduler": {"scheduler": "token_mixing"},
    "sparsity": {"sparsity": 0.4},
    "block_size": {"block_size": 32},
    "first_dense": {"first_dense": 17},
    "last_dense": {"last_dense": 17},
    "blocks": {"blocks": "similar"},
    "group_size": {"group_size": 16},
    "hot_fraction": {"hot_fraction": 0.5},
    "seed": {"seed": 1},
    "calibration": {"calibration": CalibrationSettings(tokens=4096)},
    "fidelity": {"fidelity": FidelitySettings(tail=100)},
    "speed": {"speed": SpeedSettings(rounds=5)},
    "wide shape": {"speed": SpeedSettings(wide_shape="llama3.2-1b")},
    "threads with speed": {"kernel": KernelSettings(threads=7)},
}


def test_what_changes_a_result_is_in_the_key() -> None:
    keys = [run_key(run_settings(**change)) for change in ({}, *OTHER.values())]
    assert len(set(keys)) == len(keys)


def test_token_mixing_is_measured_again_on_other_windows() -> None:
    """Windows above its limit are cut to one length, but others of the text are looked at."""
    keys = set()
    for window in (MIXING_TOKENS, 2 * MIXING_TOKENS, 4 * MIXING_TOKENS):
        calibration = CalibrationSettings(window=window)
        run = RunStages(run_settings(scheduler="token_mixing", calibration=calibration))
        keys.add(run.measurement["token_mixing"].key)
    assert len(keys) == 3


def test_parameters_that_count_later_share_the_fit() -> None:
    def fit(**changes: Any) -> str:
        return RunStages(run_settings(**changes)).fit.key

    for change in OTHER:
        alone = change in ("compensator rank", "calibration")
        assert (fit(**OTHER[change]) != fit()) == alone, change


def test_another_source_of_a_plugins_method_is_another_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def keys(method: str, source: str) -> tuple[str, str]:
        monkeypatch.setattr(plugins, "_loaded", {"mine": Plugin("mine", source, (method,))})
        run = RunStages(run_settings())
        return run.run.key, run.fit.key

    settings = RunStages(run_settings()).plan_settings
    selector, compensator = (
        f"{kind} {getattr(settings, kind).name}" for kind in ("selector", "compensator")
    )
    plain = keys("selector of nobody", "a" * 64)
    first, second = keys(selector, "a" * 64), keys(selector, "b" * 64)
    assert len({first[0], second[0], plain[0]}) == 3
    assert first[1] == second[1] == plain[1]
    assert keys(compensator, "a" * 64)[1] != keys(compensator, "b" * 64)[1]
    monkeypatch.setattr(plugins, "_loaded", {})
    without = RunStages(run_settings())
    assert (without.run.key, without.fit.key) == plain


def test_another_source_of_a_plugins_task_is_scored_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def keys(task: str, source: str) -> tuple[str, str, str]:
        monkeypatch.setattr(plugins, "_loaded", {"mine": Plugin("mine", source, (task,))})
        run = RunStages(run_settings(task=TASK))
        assert run.answers is not None
        return run.run.key, run.answers.key, run.plan.key

    plain = keys("task of_nobody", "a" * 64)
    first, second = keys("task embedded_code", "a" * 64), keys("task embedded_code", "b" * 64)
    for one, other, third in zip(plain[:2], first[:2], second[:2], strict=True):
        assert len({one, other, third}) == 3
    assert plain[2] == first[2] == second[2]


def test_the_rank_of_another_method_is_refused_not_ignored() -> None:
    """A method without a rank has none in its settings, so none can be in its keys."""
    run = RunStages(run_settings(compensator="bias"))
    assert "rank" not in str(run.run.parameters) + str(run.fit.parameters) + str(
        run.plan.parameters
    )


def test_the_objective_counts_only_if_something_reads_it() -> None:
    from ffbench.methods.objective import Objective

    def key(scheduler: str, objective: Objective) -> str:
        return run_key(run_settings(scheduler=scheduler, objective=objective))

    full = Objective(0.0, 0.0, 1.0)
    assert key("uniform", Objective()) == key("uniform", full)
    assert key("curvature", Objective()) != key("curvature", full)
    weights = [
        RunStages(run_settings(scheduler="curvature", objective=Objective(c, 1 - c)))
        for c in (0.3, 0.5)
    ]
    assert weights[0].measurement["curvature"].key == weights[1].measurement["curvature"].key
    assert weights[0].run.key != weights[1].run.key


def test_a_wide_shape_is_a_measurement_of_its_own() -> None:
    wide = {"speed": SpeedSettings(wide_shape="llama3.2-1b")}
    plain, timed = RunStages(run_settings()), RunStages(run_settings(**wide))
    assert plain.speed(MACHINE).key == timed.speed(MACHINE).key
    assert "wide_shape" not in plain.run.parameters["speed"], "runs keep the keys they had"
    other = RunStages(run_settings(**wide, model=ModelSettings("b", "tiny", "qwen2")))
    assert timed.wide_speed(MACHINE).key == other.wide_speed(MACHINE).key
    fewer = RunStages(run_settings(**wide, sparsity=0.3))
    assert timed.wide_speed(MACHINE).key != fewer.wide_speed(MACHINE).key


def test_speed_is_keyed_by_the_machine_and_nothing_else_is() -> None:
    run = RunStages(run_settings())
    assert run.speed(MACHINE).key != run.speed(MACHINE | {"cpu": "b"}).key
    assert not any(stage.name == "speed" for stage in run.run.all())


def test_dense_runs_of_any_method_are_one() -> None:
    def key(**changes: Any) -> str:
        settings: RunSettings = run_settings(sparsity=0.0, **changes)
        return run_key(settings)

    assert key() == key(selector="static", block_size=64, scheduler="curvature")


def test_runs_with_one_context_keep_the_keys_that_they_had() -> None:
    """With several, windows of one document once counted as independent."""
    for contexts in ([512], [512, 1536]):
        run = RunStages(run_settings(fidelity=FidelitySettings(contexts=contexts))).run
        assert ("interval_units" in run.parameters) == (len(contexts) > 1)


def test_seed_0_keeps_the_curvature_from_before_seeds_counted() -> None:
    stages = [RunStages(run_settings(seed=seed)).curvature_stage() for seed in (0, 1)]
    assert "seed" not in stages[0].parameters and stages[1].parameters["seed"] == 1


def test_other_dense_ends_are_judged_on_the_same_passages() -> None:
    tokenizer = load_tiny(ModelSpec("tiny", "tiny", "llama"))[1]
    fidelity = FidelitySettings(windows=2, contexts=[1536], tails=["copy"])
    every = [run_settings(fidelity=fidelity, first_dense=n, last_dense=2 * n) for n in (16, 64)]
    keys = {RunStages(settings).dense_tails.key for settings in every}
    cases = [fidelity_cases(settings.fidelity, tokenizer) for settings in every]
    assert len(keys) == 1 and len(cases[0]) == len(cases[1]) == 4
    for one, other in zip(*cases, strict=True):
        assert torch.equal(one.prompt, other.prompt)
        assert torch.equal(one.tails["copy"].ids, other.tails["copy"].ids)
