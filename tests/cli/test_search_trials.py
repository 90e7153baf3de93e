"""Trials whose runs were timed on another machine: the sampler is not told of them."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from tiny_settings import TINY

pytest.importorskip("optuna")

from ffbench.cli.compose import jobs_of
from ffbench.cli.search_machine import this_machine
from ffbench.cli.search_table import front_lines
from ffbench.cli.search_trials import SearchTrial, Trials
from ffbench.runs.store import RunStore
from ffbench.search.machines import TimingMachine
from ffbench.search.objectives import Objective
from ffbench.search.space import Space
from ffbench.search.study import Search, SearchSettings
from ffbench.tracking.sweep_file import LocalSweep

PARAMETERS: dict[str, Any] = {"sparsity": {"min": 0.3, "max": 0.7}}
CHANGES: list[dict[str, Any]] = [
    {"cpu": "Another Processor"},
    {"threads": 99},
    {"instruction_set": "AVX9"},
    {"device": "cuda", "gpu": "A Card"},
    {"cpu": None},
]


def trials(store: RunStore, objectives: list[str], *settings: str) -> Trials:
    named = [Objective(name) for name in objectives]
    search = Search(Space(PARAMETERS), named, SearchSettings())
    sweep = LocalSweep("mine", "bayes", (), PARAMETERS, None)
    return Trials(sweep, search, store, [*TINY, *settings], 9, 1, False)


def result_of(machine: TimingMachine, ratio: float) -> dict[str, Any]:
    known = asdict(machine)
    places = {name: known[name] for name in ("cpu", "instruction_set", "threads")}
    row = {"tokens": 256, "ratio": ratio, "p20": ratio - 0.1, "p80": ratio + 0.1}
    return {
        "sparsity": 0.5,
        "device": f"{machine.device}:0",
        "fidelity": {"flops_used": 0.6, "rows": []},
        "speed": {"ttft": [row]} | places,
    }


def told(search: Trials, machine: TimingMachine, ratio: float = 1.2) -> SearchTrial:
    """A trial that is there already, timed on a machine."""
    (trial,) = search.ask()
    run = search.store.folder(trial.run_key)
    assert run.start({}, {"gpu": machine.gpu})
    run.finish(result_of(machine, ratio))
    search.tell([trial], [])
    return trial


def states(search: Trials) -> list[str]:
    return [one.state.name for one in search.search._study.trials]


@pytest.fixture
def here() -> TimingMachine:
    return this_machine(jobs_of(TINY)[0].settings)


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_times_of_another_machine_are_left_out(
    changes: dict[str, Any], here: TimingMachine, tmp_path: Path
) -> None:
    search = trials(RunStore(tmp_path), ["time", "flops"])
    first, other = told(search, here), told(search, replace(here, **changes), 3.0)
    assert states(search) == ["COMPLETE", "FAIL"]
    assert first.values is not None and first.elsewhere is None
    assert other.values is None and other.failure is None
    (line,) = search.elsewhere_lines()
    assert line.startswith("1 of 2 trials are left out, since other machines timed them (")
    assert replace(here, **changes).text() in line
    table = "\n".join(front_lines(search, search.search.objectives))
    assert "1 of 1 measured runs" in table and other.run_key not in table


def test_the_best_trial_is_told_with_those_that_noise_hides(
    here: TimingMachine, tmp_path: Path
) -> None:
    search = trials(RunStore(tmp_path), ["time"])
    told(search, here, 1.2)
    best = front_lines(search, search.search.objectives)[0]
    assert best.startswith("best time: 0.83") and best.endswith(search.trials[0].run_key)
    told(search, here, 1.25)  # brackets of 0.1 on each side overlap
    told(search, here, 0.5)
    best = front_lines(search, search.search.objectives)[0]
    assert f"trial 2, run {search.trials[1].run_key}" in best
    assert best.endswith("; 1 of 2 others cannot be told from it")


def test_what_is_no_time_is_told_from_any_machine(here: TimingMachine, tmp_path: Path) -> None:
    search = trials(RunStore(tmp_path), ["flops"])
    told(search, here)
    told(search, replace(here, cpu="Another Processor"))
    assert states(search) == ["COMPLETE", "COMPLETE"] and search.elsewhere_lines() == []


def test_threads_that_a_trial_sets_are_its_own(here: TimingMachine, tmp_path: Path) -> None:
    search = trials(RunStore(tmp_path), ["time"], "kernel.threads=3")
    told(search, replace(here, threads=3))
    told(search, replace(here, threads=4))
    assert states(search) == ["COMPLETE", "FAIL"]


def test_with_a_launcher_the_first_trials_machine_counts(
    here: TimingMachine, tmp_path: Path
) -> None:
    search = trials(RunStore(tmp_path), ["time"], "launcher=joblib")
    node = replace(here, cpu="A Node", threads=64)
    for machine in (node, here, node):
        told(search, machine)
    assert states(search) == ["COMPLETE", "FAIL", "COMPLETE"]
