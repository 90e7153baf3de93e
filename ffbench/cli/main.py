"""`python -m ffbench`: commands, and runs if no command is given."""

import atexit
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from types import FrameType

from ffbench.cli.errors import INVALID, guarded, refuse

VERBS = {
    "report": "one row per run, as a table or a page",
    "status": "runs of a sweep: done, missing, failed with the reason",
    "compare": "two runs side by side",
    "plan": "save, load or show a sparse plan",
    "sample": "text that a model writes itself, to fit plans on",
    "speed": "time to first token, dense against sparse; shape=NAME takes random weights",
    "serve-bench": "a vLLM server with a plan against one without",
    "sweep": "a W&B sweep file's search without a server",
    "lm_eval": "lm-eval's command line with the model ffbench and LongBench tasks",
    "sync": "send finished run folders to W&B",
    "completion": "shell code that completes commands, groups and settings",
}
OTHER_NAMES = {"lm-eval": "lm_eval", "lmeval": "lm_eval", "run": "+sweep=sparsity"}
# Bars of other libraries would fill a log; our own lines tell the progress there.
QUIET = ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")

__all__ = ["INVALID", "VERBS", "main", "refuse"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line: 0 all done, 1 a run failed, 2 bad input, 130 stopped."""
    if arguments is not None:
        return guarded(lambda: command(arguments))
    # runs last at the end: Python then gives up its handlers, and a Ctrl-C would kill silently
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    code = guarded(process)
    # a Ctrl-C while the interpreter ends would still print a traceback
    signal.signal(signal.SIGINT, end_now)
    return code


def end_now(number: int, frame: FrameType | None) -> None:
    """End the process without the interpreter's own end, which may wait for threads."""
    print("stopped", file=sys.stderr, flush=True)
    os._exit(130)


def process() -> int:
    """The command line of this process."""
    prepare_streams()
    prepare_home()
    return command(sys.argv[1:])


def prepare_streams() -> None:
    """Output that any terminal can show, and no bars of other libraries in a log."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if sys.stderr is None or not sys.stderr.isatty():
        for name in QUIET:
            os.environ.setdefault(name, "1")


def prepare_home() -> None:
    """A home folder for processes without one, as in containers and batch jobs."""
    from ffbench.runs.home import give_home

    if (folder := give_home()) is not None:
        print(f"no home folder: caches go to {folder}; set HOME to keep them", file=sys.stderr)


def command(arguments: list[str]) -> int:
    """Find and run the command that `arguments` name."""
    first = arguments[0] if arguments else "--help"
    if first in ("-h", "--help", "help"):
        from ffbench.cli.help import usage

        print(usage())
        return 0
    if first in ("--version", "-V", "version"):
        from ffbench import __version__

        print(f"ffbench {__version__}")
        return 0
    try:
        os.getcwd()
    except FileNotFoundError:
        return refuse(["the current folder no longer exists; change to another one"])
    if first in VERBS:
        module = first.replace("-", "_")
        run: Callable[[list[str]], int] = import_module(f"ffbench.cli.{module}").main
        return run(arguments[1:])
    if not first.startswith(("-", "+", "~")) and "=" not in first:
        return refuse([unknown_verb(first)])
    from ffbench.cli.run import main as run_jobs

    return run_jobs(arguments)


def unknown_verb(word: str) -> str:
    """The sentence for a first word that is neither a command nor a setting."""
    from ffbench.suggestions import suggestion

    return (
        f"{word!r} is not a command{suggestion(word, VERBS, OTHER_NAMES)} Commands: "
        f"{', '.join(VERBS)}; settings are given as KEY=VALUE, for example sparsity=0.5"
    )
