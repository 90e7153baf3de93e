"""`python -m ffbench sweep FILE --local`: a W&B sweep file's grid or random search without a
server.
"""

from ffbench.cli.compose import jobs_of, sets_launcher
from ffbench.cli.errors import refuse
from ffbench.cli.options import Parser, expanded

MOST_TRIALS = 100_000  # far above what anybody runs on one machine


def main(arguments: list[str]) -> int:
    """Run the file's jobs with further settings; exit codes as those of a run."""
    from ffbench.cli.run import checked
    from ffbench.tracking.sweep_file import load_local_sweep

    parser = Parser("sweep", __doc__, settings=True)
    parser.add_argument("file", type=expanded, help="a W&B sweep file, e.g. sweeps/sparsity.yaml")
    parser.add_argument(
        "--local",
        action="store_true",
        required=True,
        help="run here; with a server use `wandb sweep`",
    )
    parser.add_argument("--count", type=int, help="trials of a random search")
    parser.add_argument("--seed", type=int, default=0, help="seed of a random search")
    parser.add_argument("--dry-run", action="store_true", help="list the jobs, do nothing")
    options = parser.parse(arguments)
    if options.count is not None and not 1 <= options.count <= MOST_TRIALS:
        size = "small" if options.count < 1 else "large"
        return refuse([f"--count: {options.count} is too {size}; choose 1 to {MOST_TRIALS}"])
    sweep = load_local_sweep(options.file)
    problems = [
        f"{options.file}: parameters.{name}: not a setting of a run; give it on the command line"
        for name in sweep.parameters
        if sets_launcher(name)
    ]
    if problems:
        return refuse(problems)
    trials = sweep.jobs(options.count, options.seed)
    jobs = jobs_of(*([*trial, *options.settings] for trial in trials))
    return checked(jobs, options.settings, options.dry_run, sweep.name)
