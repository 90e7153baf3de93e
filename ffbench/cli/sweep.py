"""`python -m ffbench sweep FILE --local`: a W&B sweep file's grid, random or bayes search without
a server.
"""

import argparse

from ffbench.cli.compose import jobs_of, sets_launcher
from ffbench.cli.errors import refuse
from ffbench.cli.options import Parser, expanded

MOST_TRIALS = 100_000  # far above what anybody runs on one machine
SAMPLERS = ("tpe", "nsga2")
# options of method bayes alone
SEARCH = ("sampler", "objectives", "batch", "population", "no_early_terminate")


def parser_of() -> Parser:
    """The command's options."""
    parser = Parser("sweep", __doc__, settings=True)
    parser.add_argument("file", type=expanded, help="a W&B sweep file, e.g. sweeps/sparsity.yaml")
    parser.add_argument(
        "--local",
        action="store_true",
        required=True,
        help="run here; with a server use `wandb sweep`",
    )
    parser.add_argument("--count", type=int, help="at most so many trials")
    parser.add_argument("--seed", type=int, default=0, help="seed of a random or bayes search")
    parser.add_argument("--dry-run", action="store_true", help="list the jobs, do nothing")
    bayes = parser.add_argument_group("method bayes (needs ffbench[search])")
    bayes.add_argument("--sampler", choices=SAMPLERS, help="tpe (default), or nsga2")
    bayes.add_argument(
        "--objectives",
        metavar="NAMES",
        help="in place of the file's metric: answer_kl, time, flops or a metric's path, separated "
        "by commas; all are minimised but a metric whose goal says otherwise",
    )
    bayes.add_argument("--batch", type=int, help="trials proposed and run together (default: 1)")
    bayes.add_argument(
        "--population",
        type=int,
        help="trials of one generation of nsga2; random ones before tpe learns (default: 10)",
    )
    bayes.add_argument(
        "--no-early-terminate",
        action="store_true",
        default=None,
        help="run every trial to its end",
    )
    return parser


def main(arguments: list[str]) -> int:
    """Run the file's jobs with further settings; exit codes as those of a run."""
    from ffbench.cli.run import checked
    from ffbench.tracking.sweep_file import load_local_sweep

    options = parser_of().parse(arguments)
    if options.count is not None and not 1 <= options.count <= MOST_TRIALS:
        size = "small" if options.count < 1 else "large"
        return refuse([f"--count: {options.count} is too {size}; choose 1 to {MOST_TRIALS}"])
    sweep = load_local_sweep(options.file)
    problems = [
        f"{options.file}: parameters.{name}: not a setting of a run; give it on the command line"
        for name in sweep.parameters
        if sets_launcher(name)
    ]
    if sweep.method != "bayes":
        problems += search_options(options, sweep.method)
    if problems:
        return refuse(problems)
    if sweep.method == "bayes":
        from ffbench.cli.search import main as search

        return search(sweep, options)
    trials = sweep.jobs(options.count, options.seed)
    jobs = jobs_of(*([*trial, *options.settings] for trial in trials))
    return checked(jobs, options.settings, options.dry_run, sweep.name)


def search_options(options: argparse.Namespace, method: str) -> list[str]:
    """Options that only method bayes takes."""
    return [
        f"--{name.replace('_', '-')}: only for method bayes; {options.file} has method {method}"
        for name in SEARCH
        if getattr(options, name) is not None
    ]
