"""The trials of a search as it goes: asked, composed, measured, told."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ffbench.cli.compose import ConfigProblems, Job, jobs_of, sets_launcher
from ffbench.cli.launchers import Failure
from ffbench.cli.live import live_view, runs_here
from ffbench.cli.preflight import job_problems
from ffbench.runs.store import RunFolder, RunStore
from ffbench.tracking.sweep_file import LocalSweep

if TYPE_CHECKING:
    from optuna.trial import Trial

    from ffbench.search.machines import TimingMachine
    from ffbench.search.objectives import Measured
    from ffbench.search.study import Search


@dataclass
class SearchTrial:
    """One trial: its number from 1, what Optuna proposed, its overrides, job and run key, and what
    became of it.
    """

    number: int
    proposed: "Trial"
    overrides: list[str]
    job: Job | None = None
    run_key: str = ""
    values: "tuple[Measured, ...] | None" = None
    failure: Failure | None = None
    ended_early: bool = False
    elsewhere: "TimingMachine | None" = None  # the other machine that timed it


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
    trials: list[SearchTrial] = field(default_factory=list)
    first_machine: "TimingMachine | None" = None

    def ask(self) -> list[SearchTrial]:
        """The next batch of trials, composed and checked; a trial that is refused has a failure."""
        from ffbench.cli.run import keyed

        asked = []
        for _ in range(min(self.batch, self.count - len(self.trials))):
            proposed, overrides = self.search.ask()
            trial = SearchTrial(len(self.trials) + 1, proposed, [*self.sweep.fixed, *overrides])
            self.trials.append(trial)
            asked.append(trial)
            try:
                (trial.job,) = jobs_of([*trial.overrides, *self.settings])
                problems = job_problems([trial.job])
                listed, more = keyed([trial.job]) if not problems else ([], problems)
            except ConfigProblems as error:
                listed, more = [], error.problems
            if more:
                trial.failure = Failure("; ".join(more), True)
            else:
                trial.run_key = listed[0]["run_key"]
        return asked

    def open(self, asked: Sequence[SearchTrial]) -> list[SearchTrial]:
        """Trials that the run folders do not decide yet; a run that several share comes once."""
        from ffbench.search.study import reported

        todo: dict[str, SearchTrial] = {}
        for trial in asked:
            run = self.store.folder(trial.run_key) if trial.run_key else None
            if run and run.state().state != "done" and not (self.watched and reported(run)[0]):
                todo.setdefault(trial.run_key, trial)
        return list(todo.values())

    def run(self, todo: Sequence[SearchTrial], command: list[str]) -> None:
        """Measure trials, together on a launcher or one by one under a watch.

        A run keeps the command that makes it alone, or `command` if it was launched with others.
        """
        from ffbench.cli.launch import launched
        from ffbench.search.study import Watch

        launcher = [text for text in self.settings if sets_launcher(text)]
        groups = [[trial] for trial in todo] if self.watched else [list(todo)]
        for group in groups:
            jobs = {trial.run_key: trial.job for trial in group if trial.job}
            labels = [
                f"[trial {trial.number}/{self.count}] {' '.join(trial.overrides)} -> "
                f"{self.store.output_dir}/runs/{trial.run_key}"
                for trial in group
            ]
            watch = None
            if self.watched:
                watch = Watch(group[0].proposed, self.store.folder(group[0].run_key))
            listed = [{"run_key": trial.run_key, "overrides": trial.overrides} for trial in group]
            shown = live_view(self.store, self.sweep.name, listed, runs_here(launcher))
            alone = ["python", "-m", "ffbench", *group[0].overrides, *self.settings]
            with shown if len(group) > 1 or not runs_here(launcher) else nullcontext():
                failed = launched(
                    launcher, jobs, alone if len(group) == 1 else command, labels, watch
                )
            for trial in group:
                trial.failure = failed.get(trial.run_key)

    def tell(self, asked: Sequence[SearchTrial], ran: Sequence[SearchTrial]) -> None:
        """Tell Optuna what the run folders hold, in the order in which the trials were asked."""
        from ffbench.search.study import reported

        for trial in asked:
            if not trial.run_key:
                self.search.tell_failed(trial.proposed)
                continue
            run = self.store.folder(trial.run_key)
            just_ran = any(trial is other for other in ran)
            trial.elsewhere = self.other_machine(trial, run, just_ran)
            if trial.elsewhere:
                self.search.tell_failed(trial.proposed)
                continue
            watched = self.watched and just_ran
            trial.values = self.search.tell_run(trial.proposed, run, watched)
            trial.ended_early = trial.values is None and reported(run)[0]
            if trial.ended_early:
                trial.failure = None
            elif trial.values is None and trial.failure is None:
                trial.failure = Failure("its result has no value for an objective of the search")

    def other_machine(
        self, trial: SearchTrial, run: RunFolder, just_ran: bool
    ) -> "TimingMachine | None":
        """The machine that timed a trial's run, if an objective is a time and it was another
        machine than the search's own; None otherwise.

        The search's own is the one that this process runs on or, with a launcher, that of the first
        trial.
        """
        from ffbench.cli.search_machine import this_machine
        from ffbench.search.machines import machine_of

        times = any(objective.needs() == "speed" for objective in self.search.objectives)
        if not times or run.state().state != "done":
            return None
        timed, here = machine_of(run), runs_here(list(filter(sets_launcher, self.settings)))
        if timed is None or trial.job is None or (here and just_ran):
            return None
        if here:
            own = this_machine(trial.job.settings)
        else:
            own = self.first_machine = self.first_machine or timed
        return timed if timed != own else None

    def elsewhere_lines(self) -> list[str]:
        """How many trials were left out because other machines timed them, if any were."""
        others = [trial.elsewhere for trial in self.trials if trial.elsewhere]
        if not others:
            return []
        names = "; ".join(sorted({machine.text() for machine in others}))
        return [
            f"{len(others)} of {len(self.trials)} trials are left out, since other machines timed "
            f"them ({names}); a new output_dir measures everything here"
        ]

    def save(self) -> None:
        """Keep the list of trials, which `status` reads."""
        self.store.save_sweep(
            self.sweep.name,
            [
                {"run_key": trial.run_key, "overrides": trial.overrides}
                for trial in self.trials
                if trial.run_key
            ],
        )
