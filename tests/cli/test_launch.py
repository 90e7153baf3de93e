"""Rounds of launches, with launchers whose workers die at will."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from ffbench.cli.launch import Rounds, Task
from ffbench.cli.launchers import Failure, LauncherError, check
from ffbench.runs.store import RunStore

KEYS = [f"{number:016x}" for number in range(5)]


class FakeLauncher:
    """Runs jobs in order; a job in `deadly` leaves an interrupted run and takes the pool down with
    it."""

    def __init__(self, store: RunStore, deadly: dict[str, int], failing: dict[str, str]) -> None:
        self.store, self.deadly, self.failing = store, deadly, failing
        self.rounds: list[list[str]] = []

    def launch(self, job_overrides: list[list[str]], initial_job_idx: int) -> list[SimpleNamespace]:
        keys = [words[0] for words in job_overrides]
        self.rounds.append(keys)
        returns = []
        for key in keys:
            run = self.store.folder(key)
            if self.deadly.get(key):
                self.deadly[key] -= 1
                run.start({}, {})
                run._lock.release()
                raise RuntimeError("a worker process was killed\nmore")
            if key in self.failing:
                run.start({}, {})
                run.fail(self.failing[key])
            elif run.start({}, {}):
                run.finish({})
            reason = self.failing.get(key)
            returned = None if reason is None else Failure(reason)
            returns.append(SimpleNamespace(return_value=returned))
        return returns


def rounds_of(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    deadly: dict[str, int] | None = None,
    failing: dict[str, str] | None = None,
) -> tuple[Rounds, FakeLauncher]:
    launcher = FakeLauncher(RunStore(folder), deadly or {}, failing or {})
    rounds = Rounds(None, Task([], KEYS, "."), KEYS, launcher.store, {key: [key] for key in KEYS})
    monkeypatch.setattr(rounds, "_launcher", lambda keys: launcher)
    rounds.all(KEYS)
    return rounds, launcher


def test_all_at_once_where_nothing_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds, launcher = rounds_of(tmp_path, monkeypatch, failing={KEYS[2]: "ValueError: no"})
    assert launcher.rounds == [KEYS] and rounds.failures == {KEYS[2]: Failure("ValueError: no")}


def test_a_death_is_followed_by_a_start_alone_and_the_rest_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds, launcher = rounds_of(tmp_path, monkeypatch, deadly={KEYS[1]: 1})
    assert launcher.rounds == [KEYS, [KEYS[1]], KEYS[2:]] and rounds.failures == {}


def test_two_deaths_are_a_failure_and_stop_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds, launcher = rounds_of(
        tmp_path, monkeypatch, deadly={KEYS[1]: 2, KEYS[3]: 9}, failing={KEYS[0]: "E: x"}
    )
    assert set(rounds.failures) == {KEYS[0], KEYS[1], KEYS[3]} and rounds.failures[
        KEYS[0]
    ] == Failure("E: x")
    assert (
        rounds.failures[KEYS[1]].reason
        == "its process died twice: RuntimeError: a worker process was killed"
    )
    assert [launcher.store.folder(key).state().state for key in (KEYS[2], KEYS[4])] == [
        "done",
        "done",
    ]


def test_a_launcher_that_starts_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(FakeLauncher):
        def launch(
            self, job_overrides: list[list[str]], initial_job_idx: int
        ) -> list[SimpleNamespace]:
            self.rounds.append([])
            raise OSError("no processes")

    monkeypatch.setattr("test_launch.FakeLauncher", Broken)
    rounds, launcher = rounds_of(tmp_path, monkeypatch)
    assert launcher.rounds == [[]] and rounds.failures == dict.fromkeys(
        KEYS, Failure("OSError: no processes")
    )


def test_slurm_without_its_commands_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LauncherError, match="needs sbatch, squeue, sacct"):
        check("slurm", None)
