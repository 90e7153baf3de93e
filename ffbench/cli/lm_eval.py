"""`python -m ffbench lm_eval ...`: lm-eval's own command line with the model `ffbench` and
FFBench's LongBench tasks.
"""

import sys
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
    except (ValueError, AssertionError) as error:  # how lm-eval refuses arguments and requests
        if is_user_error(error) or not str(error):
            raise
        return refuse([f"lm_eval: {error}"])
    finally:
        sys.argv = before
    return DONE
