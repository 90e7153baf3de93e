"""`python -m ffbench sweep FILE --local`: a W&B sweep file's grid or random search without a
server.
"""

import argparse

from ffbench.cli.compose import ConfigProblems, jobs_of, sets_launcher
from ffbench.cli.main import refuse


def main(arguments: list[str]) -> int:
    """Run the file's jobs with further settings; exit codes as those of a run."""
    from ffbench.cli.run import checked
    from ffbench.runs.files import StoreError
    from ffbench.tracking.sweep_file import SweepError, load_local_sweep

    parser = argparse.ArgumentParser(prog="python -m ffbench sweep", description=__doc__)
    parser.add_argument("file", help="a W&B sweep definition, for example sweeps/sparsity.yaml")
    parser.add_argument(
        "--local",
        action="store_true",
        required=True,
        help="run here; with a server use `wandb sweep`",
    )
    parser.add_argument("--count", type=int, help="trials of a random search")
    parser.add_argument("--seed", type=int, default=0, help="seed of a random search")
    parser.add_argument("--dry-run", action="store_true")
    options, words = parser.parse_known_args(arguments)
    try:
        sweep = load_local_sweep(options.file)
        found = [
            f"{options.file}: parameters.{name}: no setting of a run; give it on the command line"
            for name in sweep.parameters
            if sets_launcher(name)
        ]
        if found:
            return refuse(found)
        jobs = jobs_of(*([*trial, *words] for trial in sweep.jobs(options.count, options.seed)))
    except (SweepError, StoreError) as error:
        return refuse(str(error).splitlines())
    except ConfigProblems as problem:
        return refuse(problem.found)
    return checked(jobs, words, options.dry_run, sweep.name)
