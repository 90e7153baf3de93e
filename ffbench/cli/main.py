"""`python -m ffbench`: verbs, and runs where no verb is given."""

import sys
from collections.abc import Callable
from importlib import import_module

VERBS = {
    "report": "one row a run, as a table or a page",
    "status": "runs of a sweep: done, missing, failed with the reason",
    "compare": "two runs beside each other",
    "plan": "save, load or show a sparse plan",
    "speed": "time to first token, dense against sparse; shape=NAME takes random weights",
    "sweep": "a W&B sweep file's search without a server",
    "lm_eval": "lm-eval's command line with the model ffbench and LongBench tasks",
    "sync": "send finished run folders to W&B",
}
INVALID = 2


def usage() -> str:
    """The help text."""
    from ffbench.cli.compose import configuration, group_options
    from ffbench.cli.overrides import setting_keys

    with configuration():
        groups = "\n".join(
            f"  {name:12} {', '.join(options)}" for name, options in group_options().items()
        )
    verbs = "\n".join(f"  {name:12} {text}" for name, text in VERBS.items())
    return (
        f"python -m ffbench [+sweep=NAME] [GROUP=FILE ...] [SETTING=VALUE ...] [--dry-run]\n"
        f"python -m ffbench VERB ...     (VERB --help says more)\n\nVerbs\n{verbs}\n\n"
        f"Groups (GROUP=FILE; +sweep and +experiment with a plus sign)\n{groups}\n\n"
        f"Settings\n  {'  '.join(setting_keys())}"
    )


def refuse(found: list[str]) -> int:
    """Print every problem once to stderr; returns the exit code of bad input."""
    for line in dict.fromkeys(found):
        print(f"error: {line}", file=sys.stderr)
    return INVALID


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when all is done, 1 when a job failed, 2 for bad input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] in (["-h"], ["--help"], ["help"]):
        print(usage())
        return 0
    verb = arguments[0] if arguments else ""
    if verb in VERBS:
        run: Callable[[list[str]], int] = import_module(f"ffbench.cli.{verb}").main
        return run(arguments[1:])
    from ffbench.cli.run import main as run_jobs

    return run_jobs(arguments)
