"""`python -m ffbench lm_eval ...`: lm-eval's own command line with the model `ffbench` and
FFBench's LongBench tasks.
"""

import sys
from importlib.util import find_spec

from ffbench.cli.main import refuse

USAGE = """python -m ffbench lm_eval --model ffbench --model_args pretrained=MODEL,plan=FOLDER --tasks TASK[,TASK...]

Takes whatever `lm_eval` takes; `--model ffbench` and the tasks ffbench_longbench_* are there besides.
Model arguments: those of `hf`, and plan=FOLDER, protocol=whole|context, backend=..., max_length=N, model_name=NAME.
Records: --metadata '{"data_dir": "FOLDER", "limit": 20}' (limit spreads over lengths; --limit takes the first ones).
`python -m ffbench lm_eval run --help` shows lm-eval's own options.
"""


def main(arguments: list[str]) -> int:
    """0 when lm-eval is done, 2 where lm-eval is missing or the input is bad."""
    if find_spec("lm_eval") is None:
        return refuse(
            ["lm_eval: lm-eval is not installed; install it with: pip install 'ffbench[eval]'"]
        )
    if arguments[:1] in ([], ["-h"], ["--help"]):
        print(USAGE)
        return 0
    from lm_eval.__main__ import cli_evaluate

    from ffbench.evaluation.prompts import PromptError
    from ffbench.integrations.lm_eval import TASK_FOLDER, register
    from ffbench.methods.plan import PlanError
    from ffbench.models.loading import ModelError
    from ffbench.tasks.base import TaskError

    register()
    words = arguments if arguments[0] in ("run", "ls", "validate") else ["run", *arguments]
    if "--include_path" not in words:
        words = [*words, "--include_path", str(TASK_FOLDER)]
    before, sys.argv = sys.argv, ["lm_eval", *words]
    try:
        cli_evaluate()
    except (TaskError, PlanError, ModelError, PromptError) as error:
        return refuse([str(error)])
    finally:
        sys.argv = before
    return 0
