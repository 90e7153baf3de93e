"""LongBench task by task: rows, columns, what gets a table of its own, refusals."""

import json
from pathlib import Path
from typing import Any

import pytest

from ffanalysis import load
from tools.docs import longbench


def losses(loss: float, **more: Any) -> dict[str, Any]:
    fields = {"n": 20, "score": 40 - loss, "score_dense": 40.0, "nll": 2.2, "nll_dense": 2.0}
    for name, value in (("loss", loss), ("nll_gain", 0.1)):
        for end in ("", "_low", "_high"):
            fields |= {f"{name}_abs{end}": value, f"{name}_rel{end}": value / 40}
    return fields | more


def write_run(folder: Path, key: str, sparsity: float, loss: float, **changes: Any) -> None:
    task = {
        "metric": "f1",
        "headline": True,
        "chance": 25.0,
        "truncated": 7,
        "tokens_cut": 9.0,
        "density_used": 0.6,
        "buckets": None,
    }
    result = {
        "schema_version": 1,
        "run_key": key,
        "model": "m",
        "dtype": "float32",
        "sparsity": sparsity,
        "protocol": "whole",
        "selector": "s",
        "compensator": "c",
        "scheduler": "u",
        "block_size": 128,
        "fidelity": None,
        "speed": None,
        "data": "subset of LongBench",
        "tasks": {
            "lcc": losses(loss, **task),
            "passage_count": losses(9, **task | {"headline": False}),
        },
        "categories": {"code": losses(loss)},
        "buckets": None,
        "mean": losses(loss),
    } | changes
    config = {"task": {"limit": 20, "max_length": 4096, "batch_size": 1}}
    (folder / "runs" / key).mkdir(parents=True)
    for name, value in (
        ("result", result),
        ("config", config),
        ("provenance", {"cpu": "CPU", "git_sha": "abc", "command": ["run", "it"]}),
    ):
        (folder / "runs" / key / f"{name}.json").write_text(json.dumps(value))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / longbench.RESULTS


def test_one_row_per_task_category_and_mean(kept: Path, tmp_path: Path) -> None:
    for key, sparsity, loss in (("a", 0.5, 4.0), ("b", 0.0, 0.0), ("c", 0.3, 2.0)):
        write_run(kept, key, sparsity, loss)
    write_run(kept, "d", 0.5, 1.0, data=None)  # not LongBench
    text = longbench.sections(tmp_path)
    row = (
        "| `lcc` | 20 | 7 | 40.0 | 25.0 | 2.0 (2.0 to 2.0) | 5 (5 to 5) | 4.0 (4.0 to 4.0) | "
        "10 (10 to 10) | 2.000 |"
    )
    assert row in text
    assert "`passage_count` (not in the means)" in text and "| mean, code | 20 |  | 40.0 |" in text
    assert text.index("30%: loss") < text.index("50%: loss")
    assert "abc" in text and "`run it`" in text and "30% 0.60 to 0.60; 50% 0.60 to 0.60" in text


def test_other_prompts_get_a_table_of_their_own(kept: Path, tmp_path: Path) -> None:
    write_run(kept, "a", 0.5, 4.0)
    write_run(kept, "b", 0.5, 4.0, dtype="bfloat16")
    write_run(kept, "c", 0.5, 4.0, protocol="context")
    text = longbench.sections(tmp_path)
    assert text.count("| `lcc` |") == 2 and "50%, context: loss" in text


def test_other_blocks_and_the_users_text_get_tables_that_say_so(kept: Path, tmp_path: Path) -> None:
    write_run(kept, "a", 0.5, 4.0, blocks="consecutive", calibration_text="embedded")
    write_run(kept, "b", 0.5, 4.0)
    write_run(kept, "c", 0.5, 4.0, blocks="similar", calibration_text="0123456789abcdef")
    write_run(kept, "d", 0.5, 4.0, block_size=256)
    write_run(kept, "e", 0.5, 4.0, blocks="sorted")
    text = longbench.sections(tmp_path)
    assert text.count("| `lcc` |") == 4 and "s + c, u, blocks of sorted tokens;" in text
    assert "s + c, u; block size 128." in text and "s + c, u; block size 256." in text
    assert "s + c, u, blocks of similar tokens, fitted on the user's text 0123456789abcdef;" in text


def test_refusals(kept: Path, tmp_path: Path) -> None:
    with pytest.raises(load.LoadError, match="no runs; add some with: python -m tools.docs.take"):
        longbench.sections(tmp_path)
    write_run(kept, "a", 0.5, 4.0, mean=None)
    with pytest.raises(load.LoadError, match="run a: its means are missing"):
        longbench.sections(tmp_path)
