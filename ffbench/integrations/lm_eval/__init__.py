"""FFBench inside lm-evaluation-harness: the model `ffbench` and LongBench's tasks with LongBench's
own rules.

`register()` makes the model known to lm-eval; TASK_FOLDER is what `include_path` takes. lm-eval
0.4.13 looks for no entry points of models, so either call this or start lm-eval with `python -m
ffbench lm_eval`.
"""

from pathlib import Path

MODEL = "ffbench"
TASK_FOLDER = Path(__file__).with_name("tasks")


def register() -> None:
    """Make `--model ffbench` known to lm-eval in this process; the class is imported when it is
    first used.

    lm-eval's own models are registered first: it loads them only while its registry is empty.
    """
    import lm_eval.models  # noqa: F401
    from lm_eval.api.registry import model_registry

    if MODEL not in model_registry:
        model_registry.register(MODEL, target="ffbench.integrations.lm_eval.model:FFBenchLM")
