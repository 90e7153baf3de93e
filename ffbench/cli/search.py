"""A search by Optuna over a sweep file's parameters: trials one after the other, or in batches."""

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ffbench.cli.compose import Job, jobs_of, sets_launcher
from ffbench.cli.errors import DONE, FAILED, INVALID, STOPPED, refuse
from ffbench.cli.live import runs_here
from ffbench.cli.preflight import job_problems
from ffbench.cli.search_table import front_lines
from ffbench.cli.search_trials import Trials
from ffbench.runs.progress import log_line
from ffbench.runs.store import RunStore
from ffbench.tracking.sweep_file import DEFAULT_RUNS, LocalSweep

if TYPE_CHECKING:
    from ffbench.search.objectives import Objective

MISSING = "sweep: method bayes needs Optuna, which is not installed: pip install 'ffbench[search]'"


def main(sweep: LocalSweep, options: argparse.Namespace) -> int:
    """Run the search; 0 if every trial was measured or ended early, 1 if one failed, 2 for bad
    input.
    """
    if find_spec("optuna") is None:
        return refuse([MISSING])
    from ffbench.search.objectives import Objective
    from ffbench.search.space import Space
    from ffbench.search.study import Search, SearchSettings

    names = options.objectives.split(",") if options.objectives else [str(sweep.metric)]
    objectives = [
        Objective(name, name == sweep.metric and sweep.goal == "maximize") for name in names
    ]
    early = None if options.no_early_terminate else sweep.early_terminate
    space = Space(sweep.parameters)
    corners = [[*sweep.fixed, *corner, *options.settings] for corner in space.corners()]
    jobs = jobs_of(*corners)
    launcher = [text for text in options.settings if sets_launcher(text)]
    problems = [
        *job_problems(jobs),
        *count_problems(options, jobs, len(corners)),
        *objective_problems(objectives, jobs),
        *early_problems(early is not None, objectives, launcher),
    ]
    if problems:
        return refuse(problems)
    search = Search(
        space,
        objectives,
        SearchSettings(options.sampler or "tpe", options.seed, options.population or 10),
        early,
    )
    trials = Trials(
        sweep,
        search,
        RunStore(jobs[0].settings.output_dir),
        options.settings,
        options.count or sweep.run_cap or DEFAULT_RUNS,
        options.batch or 1,
        early is not None,
    )
    if options.dry_run:
        return preview(trials)
    return carry_out(trials, objectives, options.file)


def count_problems(options: argparse.Namespace, jobs: list[Job], expected: int) -> list[str]:
    """Numbers that are too small, and settings that make several jobs of one trial."""
    problems = [
        f"--{name}: {value} is too small; choose {least} or more"
        for name, least in (("batch", 1), ("population", 2))
        if (value := getattr(options, name)) is not None and value < least
    ]
    if len(jobs) != expected:
        problems.append("a trial of a search is one job; give one value per setting")
    return problems


def objective_problems(objectives: "Sequence[Objective]", jobs: list[Job]) -> list[str]:
    """Objectives that occur twice, or that the runs would not measure."""
    problems = []
    if len({objective.name for objective in objectives}) < len(objectives):
        problems.append("--objectives: name each one once")
    for objective in objectives:
        needs = objective.needs()
        if needs == "fidelity" and not jobs[0].settings.fidelity.windows:
            problems.append(f"objective {objective.name}: needs fidelity; fidelity.windows is 0")
        if needs == "speed" and not jobs[0].settings.speed.rounds:
            problems.append(f"objective {objective.name}: needs speed; speed.rounds is 0")
    return problems


def early_problems(
    early: bool, objectives: "Sequence[Objective]", launcher: list[str]
) -> list[str]:
    """Why trials cannot be ended early in this search."""
    leave = "add --no-early-terminate to run every trial to its end"
    problems = []
    if early and len(objectives) > 1:
        problems.append(f"early_terminate: a search with several objectives ends none; {leave}")
    if early and not runs_here(launcher):
        problems.append(f"early_terminate: only launcher=local ends trials early; {leave}")
    return problems


def preview(search: Trials) -> int:
    """Print the trials that are measured and the first that is not, and measure none."""
    while len(search.trials) < search.count:
        asked = search.ask()
        todo = search.open(asked)
        for trial in asked:
            state = "next" if trial in todo else "refused" if trial.failure else "there"
            why = f"  ({trial.failure.reason})" if trial.failure else ""
            print(f"{state:8} {trial.run_key:16}  {' '.join(trial.overrides)}{why}")
        if todo:
            break
        search.tell(asked, [])
    measured = sum(trial.values is not None for trial in search.trials)
    ended = sum(trial.ended_early for trial in search.trials)
    print(
        f"{search.sweep.name}: {measured} of {search.count} trials are measured, {ended} ended "
        "early; the others depend on results"
    )
    for line in search.elsewhere_lines():
        print(line)
    return DONE


def carry_out(search: Trials, objectives: "Sequence[Objective]", file: str) -> int:
    """Ask, measure and tell until every trial is over; then the tables."""
    from ffbench.cli.run import stoppable
    from ffbench.cli.summary import finish

    command = ["python", "-m", "ffbench", "sweep", file, "--local", *search.settings]
    before = 0
    try:
        with stoppable():
            while len(search.trials) < search.count:
                asked = search.ask()
                todo = search.open(asked)
                before += len(asked) - len(todo)
                search.save()
                if todo:
                    search.run(todo, command)
                search.tell(asked, todo)
    except KeyboardInterrupt:
        log_line("stopped; what is measured is kept: the same command resumes")
        return STOPPED
    output_dir = str(search.store.output_dir)
    finish(
        output_dir, [trial.run_key for trial in search.trials if trial.run_key], search.sweep.name
    )
    print("\n".join(front_lines(search, objectives)))
    failed = [trial for trial in search.trials if trial.failure]
    for trial in failed:
        reason = trial.failure.reason if trial.failure else ""
        log_line(f"failed: trial {trial.number}  {' '.join(trial.overrides)}\n        {reason}")
    for line in search.elsewhere_lines():
        log_line(line)
    ended = sum(trial.ended_early for trial in search.trials)
    measured = sum(trial.values is not None for trial in search.trials)
    log_line(
        f"{len(search.trials)} trials: {measured} measured, {ended} ended early, {len(failed)} "
        f"failed; {before} were there before"
    )
    if not failed:
        return DONE
    return INVALID if all(trial.failure and trial.failure.permanent for trial in failed) else FAILED
