"""Rounds of launches, with launchers whose workers die at will."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from ffbench.cli.launch import Rounds, launcher_of
from ffbench.cli.launchers import Died, Failure, LauncherError, Outcome, Task, Work
from ffbench.runs.store import RunStore
from ffbench.settings import RunSettings

KEYS = [f"{number:016x}" for number in range(5)]
KILLED = "RuntimeError: a worker process was killed"


class FakeLauncher:
    """Runs jobs in order; a job in `deadly` leaves an interrupted run and takes the pool down with
    it."""

    def __init__(self, store: RunStore, deadly: dict[str, int], failing: dict[str, str]) -> None:
        self.store, self.deadly, self.failing = store, deadly, failing
        self.rounds: list[list[str]] = []

    def run(self, task: Task, jobs: Mapping[str, Work]) -> dict[str, Outcome]:
        self.rounds.append(list(jobs))
        outcomes: dict[str, Outcome] = {key: Died(KILLED) for key in jobs}
        for key in jobs:
            run = self.store.folder(key)
            if self.deadly.get(key):
                self.deadly[key] -= 1
                run.start({}, {})
                run._lock.release()
                return outcomes
            if key in self.failing:
                run.start({}, {})
                run.fail(self.failing[key])
            elif run.start({}, {}):
                run.finish({})
            outcomes[key] = Failure(self.failing[key], True) if key in self.failing else None
        return outcomes


class Broken(FakeLauncher):
    """Starts nothing."""

    def run(self, task: Task, jobs: Mapping[str, Work]) -> dict[str, Outcome]:
        self.rounds.append([])
        return dict.fromkeys(jobs, Died("OSError: no processes"))


def rounds_of(
    folder: Path,
    deadly: dict[str, int] | None = None,
    failing: dict[str, str] | None = None,
    kind: type[FakeLauncher] = FakeLauncher,
) -> tuple[Rounds, FakeLauncher]:
    launcher = kind(RunStore(folder), deadly or {}, failing or {})
    work = {key: Work("", RunSettings()) for key in KEYS}
    rounds = Rounds(launcher, Task([], "."), work, launcher.store)
    rounds.all(KEYS)
    return rounds, launcher


def test_all_at_once_where_nothing_dies(tmp_path: Path) -> None:
    rounds, launcher = rounds_of(tmp_path, failing={KEYS[2]: "ValueError: no"})
    assert launcher.rounds == [KEYS]
    assert rounds.failures == {KEYS[2]: Failure("ValueError: no", True)}


def test_a_death_is_followed_by_a_start_alone_and_the_rest_together(tmp_path: Path) -> None:
    rounds, launcher = rounds_of(tmp_path, deadly={KEYS[1]: 1})
    assert launcher.rounds == [KEYS, [KEYS[1]], KEYS[2:]] and rounds.failures == {}


def test_two_deaths_are_a_failure_and_stop_no_other(tmp_path: Path) -> None:
    rounds, launcher = rounds_of(
        tmp_path, deadly={KEYS[1]: 2, KEYS[3]: 9}, failing={KEYS[0]: "E: x"}
    )
    assert set(rounds.failures) == {KEYS[0], KEYS[1], KEYS[3]}
    assert rounds.failures[KEYS[0]] == Failure("E: x", True)  # known also though the pool died
    assert rounds.failures[KEYS[1]].reason == f"its process died twice: {KILLED}"
    assert [launcher.store.folder(key).state().state for key in (KEYS[2], KEYS[4])] == [
        "done",
        "done",
    ]


def test_a_launcher_that_starts_nothing_is_given_up(tmp_path: Path) -> None:
    rounds, launcher = rounds_of(tmp_path, kind=Broken)
    assert launcher.rounds == [[]]
    assert rounds.failures == dict.fromkeys(KEYS, Failure("OSError: no processes"))


def test_jobs_of_an_array_fail_alone_and_are_not_started_again(tmp_path: Path) -> None:
    class Array(FakeLauncher):
        def run(self, task: Task, jobs: Mapping[str, Work]) -> dict[str, Outcome]:
            outcomes = super().run(task, dict.fromkeys(KEYS[:3], jobs[KEYS[0]]))
            # cancelled after it had finished; cancelled before; ended well without a run
            return {
                **outcomes,
                KEYS[1]: Failure("CANCELLED"),
                KEYS[3]: Failure("CANCELLED"),
                KEYS[4]: None,
            }

    launcher = Array(RunStore(tmp_path), {}, {})
    work = {key: Work("", RunSettings()) for key in KEYS}
    rounds = Rounds(launcher, Task([], "."), work, launcher.store)
    rounds.array(KEYS)
    assert launcher.rounds == [KEYS[:3]]
    assert rounds.failures == {
        KEYS[3]: Failure("CANCELLED"),
        KEYS[4]: Failure("its run is missing"),
    }


def test_slurm_without_its_commands_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LauncherError, match="needs sbatch, squeue, sacct"):
        launcher_of("slurm", {})


def test_hydras_own_plugins_are_refused() -> None:
    with pytest.raises(LauncherError, match="defaults: \\[joblib\\]"):
        launcher_of("submitit_slurm", {})
