"""LongBench by gold likelihood: rows, both means, sparsities side by side."""

import json
from pathlib import Path
from typing import Any

from tools.docs import gold


def likelihood(ratio: float, dense: float = 2.0) -> dict[str, Any]:
    low, high = ratio - 0.01, ratio + 0.01
    return {
        "nll_dense": dense,
        "gold_ppl_ratio": ratio,
        "gold_ppl_ratio_low": low,
        "gold_ppl_ratio_high": high,
    }


def write_run(folder: Path, key: str, sparsity: float, ratio: float) -> None:
    task = likelihood(ratio) | {"n": 7, "density_used": 0.6, "headline": True}
    result = {
        "schema_version": 2,
        "run_key": key,
        "model": "m",
        "dtype": "float32",
        "sparsity": sparsity,
        "task": "longbench_gold",
        "protocol": "whole",
        "selector": "s",
        "compensator": "c",
        "scheduler": "u",
        "parameters": {},
        "block_size": 128,
        "data": "subset of LongBench",
        "tasks": {"lcc": task, "qasper": task | {"n": 5}},
        "gold": {
            "n": 12,
            "task_mean": likelihood(ratio),
            "record_mean": likelihood(ratio + 0.1, 2.5),
        },
        "cost": {},
    }
    path = folder / gold.RESULTS / "runs" / key
    path.mkdir(parents=True)
    (path / "result.json").write_text(json.dumps(result))
    config = {"task": {"limit": None, "max_length": 2048, "batch_size": 1}}
    (path / "config.json").write_text(json.dumps(config))


def test_one_row_per_task_and_both_means(tmp_path: Path) -> None:
    write_run(tmp_path, "a", 0.7, 1.2)
    write_run(tmp_path, "b", 0.5, 1.05)
    text = gold.section(tmp_path)
    assert "| `lcc` | 7 | 2.000 | 1.050 (1.040 to 1.060) | 1.200 (1.190 to 1.210) |" in text
    assert "| **mean of records** | 12 | 2.500 | 1.150 (1.140 to 1.160) |" in text
    assert "all records per task" in text and "at most 2048 tokens" in text
    assert text.index("50%: perplexity ratio") < text.index("70%: perplexity ratio")


def test_the_means_of_tasks_in_a_sentence(tmp_path: Path) -> None:
    write_run(tmp_path, "a", 0.7, 1.2)
    write_run(tmp_path, "b", 0.5, 1.05)
    assert gold.sentence(tmp_path) == [
        "Perplexity of LongBench's gold answers (2 tasks, 12 records), sparse over dense: 1.050 "
        "(1.040 to 1.060) at 50%; 1.200 (1.190 to 1.210) at 70% ([task by task](docs/longbench.md))."
    ]


def test_without_runs_it_says_so(tmp_path: Path) -> None:
    assert gold.sentence(tmp_path) == []
    assert gold.section(tmp_path) == gold.NOTHING
