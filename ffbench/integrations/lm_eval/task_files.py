"""Write lm-eval's task files from FFBench's LongBench tasks.

Command: python -m ffbench.integrations.lm_eval.task_files
"""

import json
from pathlib import Path
from typing import Any

from ffbench.integrations.lm_eval import TASK_FOLDER
from ffbench.integrations.lm_eval.records import PREFIX
from ffbench.tasks.base import TaskSpec
from ffbench.tasks.longbench.tasks import RULES
from ffbench.tasks.registry import get_spec

HEADER = "# made by: python -m ffbench.integrations.lm_eval.task_files\n"
FUNCTIONS = {
    "custom_dataset": "dataset",
    "doc_to_text": "prompt_text",
    "process_results": "process_results",
}


def task_config(spec: TaskSpec) -> dict[str, Any]:
    """One task; values that are functions are left out."""
    return {
        "task": PREFIX + spec.name,
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_target": "{{answers}}",
        "generation_kwargs": {
            "max_gen_toks": spec.max_new_tokens,
            "do_sample": False,
            "temperature": 0.0,
            "until": ["\n"] if spec.stop == "newline_token" else [],
        },
        "metric_list": [{"metric": "score", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0, "longbench_task": spec.name},
    }


def task_file(spec: TaskSpec) -> str:
    """Text of a task's file. JSON values are YAML."""
    values = "".join(f"{key}: {json.dumps(value)}\n" for key, value in task_config(spec).items())
    return (
        HEADER
        + values
        + "".join(
            f"{key}: !function ffbench.integrations.lm_eval.records.{name}\n"
            for key, name in FUNCTIONS.items()
        )
    )


def group_file(name: str, specs: list[TaskSpec]) -> str:
    """Text of a group: the mean over its headline tasks, each counting the same."""
    mean = {"metric": "score", "aggregation": "mean", "weight_by_size": False}
    values = {
        "group": name,
        "task": [PREFIX + spec.name for spec in specs if spec.headline],
        "aggregate_metric_list": [mean],
        "metadata": {"version": 1.0},
    }
    return HEADER + "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())


def files() -> dict[str, str]:
    """Name and text of every file: 34 tasks and the two groups."""
    plain = [get_spec(name) for name in RULES]
    extended = [get_spec(f"{name}_e") for name, rule in RULES.items() if rule["records_extended"]]
    found = {f"{spec.name}.yaml": task_file(spec) for spec in plain + extended}
    return found | {
        "_longbench.yaml": group_file("ffbench_longbench", plain),
        "_longbench_e.yaml": group_file("ffbench_longbench_e", extended),
    }


def write(folder: Path = TASK_FOLDER) -> None:
    """Write every file."""
    folder.mkdir(exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
