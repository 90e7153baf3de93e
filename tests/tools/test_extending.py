"""The examples in docs/extending.md work: a selector, and a task of one's own data."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ffbench.cli.compose import jobs_of
from ffbench.experiment.identity import work_of
from ffbench.tasks.json_lines import JsonLinesTask
from ffbench.tasks.metrics import METRICS
from ffbench.validation import task_problems

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def test_the_selector_of_the_page_scores_blocks_and_has_its_parameter() -> None:
    from ffbench.methods.selectors.base import SELECTORS

    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    names: dict[str, Any] = {}
    try:
        exec(compile(code, str(PAGE), "exec"), names)
        method = SELECTORS.make({"name": "block_norm", "power": 2})
        prior = torch.arange(1.0, 7.0)
        inputs = SimpleNamespace(
            blocks=torch.full((3, 4, 9), 2.0),
            layer=SimpleNamespace(predictor=SimpleNamespace(prior=prior)),
        )
        # each token's norm is 2 * sqrt(9) = 6
        assert torch.allclose(method.scores(inputs), (36 * prior).expand(3, -1))
    finally:
        SELECTORS.classes.pop("block_norm", None)


def test_the_task_of_the_page_makes_prompts_of_its_record(tmp_path: Path) -> None:
    text = PAGE.read_text()
    (definition,) = re.findall(r"```yaml\n(# my_conf/task/tickets.yaml.*?)```", text, re.DOTALL)
    (row,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "tickets.yaml").write_text(definition)
    (tmp_path / "tickets.jsonl").write_text(row)
    search = f"hydra.searchpath=[file://{tmp_path}]"
    (job,) = jobs_of(["model=tiny_llama", search, "task=tickets", f"task.data_dir={tmp_path}"])
    assert task_problems(job.settings) == []
    ((spec, (record,)),) = work_of(job.settings)
    assert record.context + record.question == (
        "Read the ticket.\n\nThe printer on floor 3 is broken.\n\nQuestion: Which floor?\nAnswer:"
    )
    assert spec.points(" Floor 3!\nand more", record) == 100.0
    assert spec.points(" Floor 4", record) == pytest.approx(50.0)


def test_the_page_names_every_key_and_metric_of_a_task() -> None:
    text = PAGE.read_text()
    assert all(f"`{name}`" in text for name in (*METRICS, *JsonLinesTask.__dataclass_fields__))
