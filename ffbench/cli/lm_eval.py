"""`python -m ffbench lm_eval ...`: lm-eval's own command line with the model `ffbench` and
FFBench's LongBench tasks.
"""

import sys
import traceback
from importlib.util import find_spec

from ffbench.cli.errors import DONE, is_user_error, refuse

USAGE = """python -m ffbench lm_eval --model ffbench --tasks TASK[,TASK...] \\
    --model_args pretrained=MODEL,plan=FOLDER

Takes whatever `lm_eval` takes, and adds `--model ffbench` and the tasks ffbench_longbench_*.
Model arguments: those of `hf`, and plan=FOLDER, protocol=whole|context, backend=NAME,
max_length=N, model_name=NAME.
Records: --metadata '{"data_dir": "FOLDER", "limit": 20}' (limit spreads over lengths; --limit
takes the first ones).
`python -m ffbench lm_eval run --help` shows lm-eval's own options.
"""


def origin(error: BaseException) -> str:
    """The module that raised an error."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__", "unknown code"))


def raised_here(error: BaseException) -> bool:
    """Whether our own code raised an error."""
    return origin(error).partition(".")[0] in ("ffbench", "ffkernels")


def main(arguments: list[str]) -> int:
    """0 when lm-eval is done, 2 if lm-eval is missing or the input is bad."""
    if find_spec("lm_eval") is None:
        return refuse(
            ["lm_eval: lm-eval is not installed; install it with: pip install 'ffbench[eval]'"]
        )
    if arguments[:1] in ([], ["-h"], ["--help"]):
        print(USAGE)
        return DONE
    from lm_eval.__main__ import cli_evaluate

    from ffbench.integrations.lm_eval import TASK_FOLDER, register

    register()
    given = arguments if arguments[0] in ("run", "ls", "validate") else ["run", *arguments]
    if "--include_path" not in given:
        given = [*given, "--include_path", str(TASK_FOLDER)]
    before, sys.argv = sys.argv, ["lm_eval", *given]
    try:
        cli_evaluate()
    except Exception as error:
        refusal = isinstance(error, (ValueError, AssertionError)) and str(error)
        known = is_user_error(error) or isinstance(error, (MemoryError, OSError))
        if known or (raised_here(error) and not refusal):
            raise
        # lm-eval refuses arguments, tasks and requests by whatever its code happens to raise
        if refusal:
            return refuse([f"lm_eval: {error}"])
        text = f"{type(error).__name__}: {error}".rstrip(": ")
        return refuse([f"lm_eval: {text} (raised by {origin(error)})"])
    finally:
        sys.argv = before
    return DONE
