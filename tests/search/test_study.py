"""Trials: the same seed proposes the same ones, and run folders are all that a restart needs."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

from ffbench.runs.run_folder import RunFolder
from ffbench.runs.store import RunStore
from ffbench.search.objectives import Objective
from ffbench.search.space import Space
from ffbench.search.study import Search, SearchSettings, Watch, reported
from ffbench.tracking.early_terminate import EarlyTerminate
from ffbench.tracking.watched import EndedEarly

SPACE = {
    "sparsity": {"min": 0.2, "max": 0.8},
    "block_size": {"values": [64, 128]},
    "rank": {"min": 1, "max": 64},
}
TWO = (Objective("flops/ratio"), Objective("density_used"))
ONE = (Objective("objective"),)


def result_of(overrides: list[str]) -> dict[str, Any]:
    values = {name: float(value) for name, value in (text.split("=") for text in overrides)}
    return {
        "sparsity": values["sparsity"],
        "flops": {"ratio": (values["sparsity"] - 0.5) ** 2 + values["rank"] / 100},
        "density_used": 1 - values["sparsity"] + values["block_size"] / 1000,
        "fidelity": {"tails": {"copy": {"kl": abs(values["sparsity"] - 0.4)}}},
    }


def folder(store: RunStore, overrides: list[str]) -> RunFolder:
    from ffbench.runs.identity import content_key

    return store.folder(content_key(overrides)[:16])


def go(
    store: RunStore, settings: SearchSettings, objectives: tuple, count: int
) -> tuple[list[list[str]], int]:
    """The overrides of `count` trials, and how many of them were measured now."""
    search, every, measured = Search(Space(SPACE), objectives, settings), [], 0
    for _ in range(count):
        trial, overrides = search.ask()
        every.append(overrides)
        run = folder(store, overrides)
        if run.start({}, {}):
            measured += 1
            run.finish(result_of(overrides))
        assert search.tell_run(trial, run, False) is not None
    return every, measured


@pytest.mark.parametrize(
    ("sampler", "objectives"), [("tpe", ONE), ("tpe", TWO), ("nsga2", TWO), ("nsga2", ONE)]
)
def test_a_restart_proposes_the_same_trials_and_measures_none_again(
    sampler: str, objectives: tuple, tmp_path: Path
) -> None:
    settings = SearchSettings(sampler, seed=3, population=4)
    whole, count = go(RunStore(tmp_path / "whole"), settings, objectives, 14)
    assert count == len({tuple(one) for one in whole})
    store = RunStore(tmp_path / "stopped")
    begun, _ = go(store, settings, objectives, 9)  # a kill after nine trials
    resumed, rest = go(store, settings, objectives, 14)
    assert begun == whole[:9] and resumed == whole
    assert rest == len({tuple(one) for one in whole} - {tuple(one) for one in begun})
    assert (
        go(RunStore(tmp_path / "other"), SearchSettings(sampler, 4, 4), objectives, 3)[0]
        != whole[:3]
    )


def test_tpe_learns() -> None:
    """Its later trials are nearer to the optimum of a plain parabola than uniform draws are: their
    mean distance has mean 0.29 and variance (0.7**3 + 0.3**3) / 3 - 0.29**2 over the count."""
    search = Search(Space({"x": {"min": 0.0, "max": 1.0}}), ONE, SearchSettings(population=10))
    distances = []
    for _ in range(40):
        trial, (override,) = search.ask()
        x = float(override.split("=")[1])
        distances.append(abs(x - 0.7))
        search._study.tell(trial, (x - 0.7) ** 2)
    deviation = (((0.7**3 + 0.3**3) / 3 - 0.29**2) / 20) ** 0.5
    assert sum(distances[20:]) / 20 < 0.29 - 3 * deviation


def watched(store: RunStore, search: Search, values: list[float]) -> tuple[str, RunFolder]:
    trial, overrides = search.ask()
    run = folder(store, overrides)
    run.start({}, {})
    watch = Watch(trial, run)
    try:
        for number, value in enumerate(values, 1):
            watch({"objective": value, "windows": number})
            watch({"fidelity": {}})
    except EndedEarly as error:
        run.fail(str(error))
    else:
        run.finish(result_of(overrides))
    search.tell_run(trial, run, True)
    return run.state().state, run


def search_ending_early() -> Search:
    return Search(Space(SPACE), ONE, SearchSettings(population=4), EarlyTerminate(2, 2))


def test_a_trial_that_falls_behind_ends_and_a_restart_knows_it(tmp_path: Path) -> None:
    store, search = RunStore(tmp_path), search_ending_early()
    runs = [
        watched(store, search, values)
        for values in ([1.0, 1.0, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5], [3.0, 3.0, 3.0, 3.0])
    ]
    assert [state for state, _ in runs] == ["done", "done", "failed"]
    last = runs[-1][1]
    assert reported(last) == (True, [3.0, 3.0])
    assert (last.state().reason or "").startswith("ended early by the search: objective 3 after 2")
    later = search.ask()[1]
    again = search_ending_early()
    for _, run in runs:
        again.tell_run(again.ask()[0], run, False)
    assert [one.state.name for one in again._study.trials] == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert [one.intermediate_values for one in again._study.trials] == [
        one.intermediate_values for one in search._study.trials[:3]
    ]
    assert again.ask()[1] == later


def test_a_run_without_a_value_is_a_failed_trial(tmp_path: Path) -> None:
    store, search = RunStore(tmp_path), Search(Space(SPACE), ONE, SearchSettings())
    trial, overrides = search.ask()
    run = folder(store, overrides)
    run.start({}, {})
    run.finish({"sparsity": 0.5})
    assert search.tell_run(trial, run, False) is None
    assert search._study.trials[0].state.name == "FAIL"
