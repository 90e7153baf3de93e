"""Exit codes, and the one net under every command: errors end in one line, never in a traceback."""

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress

from ffbench.runs.interrupts import interrupts_noted

DONE, FAILED, INVALID, STOPPED = 0, 1, 2, 130
BROKEN_PIPE = 141  # 128 + SIGPIPE, as other programs end when their reader is gone
DEBUG = "FFBENCH_DEBUG"
# Errors whose text is written for the user. By name, so that this module imports none of them.
USER_ERRORS = {
    "ffanalysis.frames.LoadError",
    "ffbench.cli.compose.ConfigProblems",
    "ffbench.cli.errors.UsageError",
    "ffbench.cli.launchers.LauncherError",
    "ffbench.data.json_lines.DataFileError",
    "ffbench.data.user_text.TextError",
    "ffbench.evaluation.chat_template.PromptError",
    "ffbench.methods.plan.PlanError",
    "ffbench.methods.registry.MethodError",
    "ffbench.models.errors.ModelError",
    "ffbench.models.forward.ForwardError",
    "ffbench.plugins.PluginError",
    "ffbench.runs.files.StoreError",
    "ffbench.tasks.base.TaskError",
    "ffbench.tracking.sweep_file.SweepError",
}


class UsageError(ValueError):
    """A command line that makes no sense; the text says what to type."""


def refuse(problems: Iterable[str]) -> int:
    """Print every problem once to stderr, one line each; returns the exit code of bad input."""
    for line in dict.fromkeys(" ".join(problem.split()) for problem in problems):
        print(f"error: {line}", file=sys.stderr)
    return INVALID


def is_user_error(error: BaseException) -> bool:
    """Whether an error's text is written for the user, so that no traceback is needed."""
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__)
    return any(name in USER_ERRORS for name in names)


def problems_of(error: BaseException) -> list[str]:
    """The problems that an error lists, else the lines of its text."""
    problems = getattr(error, "problems", None)
    return list(problems) if isinstance(problems, (list, tuple)) else str(error).splitlines()


def import_problem(verb: str, error: ImportError) -> str:
    """Why a command cannot be imported: a package is missing, or another one has its name."""
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("ffanalysis."):
        return f"{verb}: {error}; install it with: pip install 'ffbench[analysis]'"
    if error.path:
        return (
            f"{verb}: {error}; that file hides the package of the same name: rename it, or start "
            "from another folder"
        )
    return f"{verb}: {error}"


def guarded(command: Callable[[], int]) -> int:
    """Run a command; whatever it raises becomes one line and an exit code."""
    try:
        with interrupts_noted() as interrupts:
            try:
                code = command()
                if sys.stdout is not None:
                    sys.stdout.flush()
                # a library swallowed the interrupt, and the command ran on to its end
                return stopped() if interrupts and code == DONE else code
            except SystemExit as end:  # argparse's --help, lm-eval's own ends
                return end.code if isinstance(end.code, int) else DONE if end.code is None else 1
            except Exception as error:
                if interrupts:
                    raise KeyboardInterrupt from error
                return failure(error)
    except KeyboardInterrupt:
        return stopped()


def stopped() -> int:
    """The one line of an interrupt."""
    print("stopped", file=sys.stderr)
    return STOPPED


def failure(error: Exception) -> int:
    """One line for an error, and its exit code."""
    if isinstance(error, BrokenPipeError):
        discard_output()
        return BROKEN_PIPE
    if is_user_error(error):
        return refuse(problems_of(error))
    if out_of_memory(error):
        return refuse(["not enough memory; use a smaller model, window or batch"])
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and not error.filename:
        discard_output()
        print(f"error: cannot write the output: {error.strerror}", file=sys.stderr)
        return FAILED
    if isinstance(error, OSError) and error.filename and error.strerror:
        return refuse([f"{error.filename}: {error.strerror}"])
    return unforeseen(error)


def out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, on the card or off it; by torch's words, to import nothing."""
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in text)
    )


def unforeseen(error: Exception) -> int:
    """One line for an error of ours, with the file that has its traceback."""
    text = " ".join((str(error) or "no message").split())
    line = f"error: unexpected {type(error).__name__}: {text}"
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
        print(line, file=sys.stderr)
        return FAILED
    saved = saved_traceback(error)
    hint = f"traceback in {saved}" if saved else f"set {DEBUG}=1 to see the traceback"
    print(f"{line}; please report it ({hint})", file=sys.stderr)
    return FAILED


def saved_traceback(error: Exception) -> str | None:
    """Path of a new temporary file with an error's traceback; None if it cannot be written."""
    try:
        descriptor, path = tempfile.mkstemp(prefix="ffbench-traceback-", suffix=".txt", text=True)
        with open(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return None
    return path


def discard_output() -> None:
    """Send what is still to be printed nowhere, so that the interpreter's last flush is quiet."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
