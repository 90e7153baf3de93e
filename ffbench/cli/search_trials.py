"""The trials of a search as it goes: asked, composed, measured, told."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ffbench.cli.compose import ConfigProblems, Job, jobs_of, sets_launcher
from ffbench.cli.launchers import Failure
from ffbench.cli.live import live_view, runs_here
from ffbench.cli.preflight import job_problems
from ffbench.runs.store import RunStore
from ffbench.tracking.sweep_file import LocalSweep

if TYPE_CHECKING:
    from optuna.trial import Trial

    from ffbench.search.objectives import Measured
    from ffbench.search.study import Search


@dataclass
class Asked:
    """One trial: its number from 1, overrides, job and run key, and what became of it."""

    number: int
    trial: "Trial"
    overrides: list[str]
    job: Job | None = None
    run_key: str = ""
    values: "tuple[Measured, ...] | None" = None
    failure: Failure | None = None
    ended_early: bool = False


@dataclass
class Trials:
    """One search as it goes: what is asked, run and told."""

    sweep: LocalSweep
    search: "Search"
    store: RunStore
    settings: list[str]
    count: int
    batch: int
    watched: bool
    trials: list[Asked] = field(default_factory=list)

    def ask(self) -> list[Asked]:
        """The next batch of trials, composed and checked; a trial that is refused has a failure."""
        from ffbench.cli.run import keyed

        asked = []
        for _ in range(min(self.batch, self.count - len(self.trials))):
            trial, overrides = self.search.ask()
            one = Asked(len(self.trials) + 1, trial, [*self.sweep.fixed, *overrides])
            self.trials.append(one)
            asked.append(one)
            try:
                (one.job,) = jobs_of([*one.overrides, *self.settings])
                problems = job_problems([one.job])
                listed, more = keyed([one.job]) if not problems else ([], problems)
            except ConfigProblems as error:
                listed, more = [], error.problems
            if more:
                one.failure = Failure("; ".join(more), True)
            else:
                one.run_key = listed[0]["run_key"]
        return asked

    def open(self, asked: Sequence[Asked]) -> list[Asked]:
        """Trials that the run folders do not decide yet; a run that several share comes once."""
        from ffbench.search.study import reported

        todo: dict[str, Asked] = {}
        for one in asked:
            run = self.store.folder(one.run_key) if one.run_key else None
            if run and run.state().state != "done" and not (self.watched and reported(run)[0]):
                todo.setdefault(one.run_key, one)
        return list(todo.values())

    def run(self, todo: Sequence[Asked], command: list[str]) -> None:
        """Measure trials, together on a launcher or one by one under a watch.

        A run keeps the command that makes it alone, or `command` if it was launched with others.
        """
        from ffbench.cli.launch import launched
        from ffbench.search.study import Watch

        launcher = [text for text in self.settings if sets_launcher(text)]
        groups = [[one] for one in todo] if self.watched else [list(todo)]
        for group in groups:
            jobs = {one.run_key: one.job for one in group if one.job}
            labels = [
                f"[trial {one.number}/{self.count}] {' '.join(one.overrides)} -> "
                f"{self.store.output_dir}/runs/{one.run_key}"
                for one in group
            ]
            watch = None
            if self.watched:
                watch = Watch(group[0].trial, self.store.folder(group[0].run_key))
            listed = [{"run_key": one.run_key, "overrides": one.overrides} for one in group]
            shown = live_view(self.store, self.sweep.name, listed, runs_here(launcher))
            alone = ["python", "-m", "ffbench", *group[0].overrides, *self.settings]
            with shown if len(group) > 1 or not runs_here(launcher) else nullcontext():
                failed = launched(
                    launcher, jobs, alone if len(group) == 1 else command, labels, watch
                )
            for one in group:
                one.failure = failed.get(one.run_key)

    def tell(self, asked: Sequence[Asked], ran: Sequence[Asked]) -> None:
        """Tell Optuna what the run folders hold, in the order in which the trials were asked."""
        from ffbench.search.study import reported

        for one in asked:
            if not one.run_key:
                self.search.tell_failed(one.trial)
                continue
            run = self.store.folder(one.run_key)
            watched = self.watched and any(one is other for other in ran)
            one.values = self.search.tell_run(one.trial, run, watched)
            one.ended_early = one.values is None and reported(run)[0]
            if one.ended_early:
                one.failure = None
            elif one.values is None and one.failure is None:
                one.failure = Failure("its result has no value for an objective of the search")

    def save(self) -> None:
        """Keep the list of trials, which `status` reads."""
        self.store.save_sweep(
            self.sweep.name,
            [
                {"run_key": one.run_key, "overrides": one.overrides}
                for one in self.trials
                if one.run_key
            ],
        )
