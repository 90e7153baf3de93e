"""The LongBench table: rows, columns side by side, what is not set beside each other, refusals."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools.docs import longbench_table


def figures(loss: float, **more: Any) -> dict[str, Any]:
    found = {"n": 20, "score": 40 - loss, "score_dense": 40.0, "nll": 2.2, "nll_dense": 2.0}
    for name, value in (("loss", loss), ("nll_gain", 0.1)):
        for end in ("", "_low", "_high"):
            found |= {f"{name}_abs{end}": value, f"{name}_rel{end}": value / 40}
    return found | more


def write_run(folder: Path, key: str, sparsity: float, loss: float, **changes: Any) -> None:
    task = {
        "metric": "f1",
        "headline": True,
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
            "lcc": figures(loss, **task),
            "passage_count": figures(9, **task | {"headline": False}),
        },
        "categories": {"code": figures(loss)},
        "buckets": None,
        "mean": figures(loss),
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
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    text = f"before\n{longbench_table.START}\nold\n{longbench_table.END}\nafter\n"
    (tmp_path / "page.md").write_text(text)
    monkeypatch.setattr(longbench_table, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(longbench_table, "RESULTS", tmp_path / "kept")
    return tmp_path / "page.md"


def test_the_page_gets_one_row_a_task_and_mean(page: Path, tmp_path: Path) -> None:
    for key, sparsity, loss in (("a", 0.5, 4.0), ("b", 0.0, 0.0), ("c", 0.3, 2.0)):
        write_run(tmp_path / "out", key, sparsity, loss)
    write_run(tmp_path / "out", "d", 0.5, 1.0, data=None)
    assert longbench_table.main(["--take", str(tmp_path / "out")]) == 0
    text = page.read_text()
    assert text.startswith("before") and text.endswith("after\n") and "old" not in text
    assert (
        "| `lcc` | 20 | 7 | 40.0 | 2.0 (2.0 to 2.0) | 5% (5 to 5) | 4.0 (4.0 to 4.0) | 10% (10 to 10) | 2.000 |"
        in text
    )
    assert "`passage_count` (not in the means)" in text and "| mean, code | 20 |  | 40.0 |" in text
    assert (
        text.index("30%: loss") < text.index("50%: loss") and "abc" in text and "`run it`" in text
    )
    assert not (tmp_path / "kept" / "runs" / "d").exists()


def test_other_prompts_get_a_table_of_their_own(page: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "out", "a", 0.5, 4.0)
    write_run(tmp_path / "out", "b", 0.5, 4.0, dtype="bfloat16")
    write_run(tmp_path / "out", "c", 0.5, 4.0, protocol="context")
    assert longbench_table.main(["--take", str(tmp_path / "out")]) == 0
    assert page.read_text().count("| `lcc` |") == 2
    assert "50%, context: loss" in page.read_text()


def test_refusals(page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert longbench_table.main([]) == 2
    (tmp_path / "none").mkdir()
    assert longbench_table.main(["--take", str(tmp_path / "none")]) == 2
    assert "no done run on LongBench records" in capsys.readouterr().err
    write_run(tmp_path / "out", "a", 0.5, 4.0)
    path = tmp_path / "out" / "runs" / "a" / "result.json"
    old = json.loads(path.read_text())
    del old["categories"]
    path.write_text(json.dumps(old))
    assert longbench_table.main(["--take", str(tmp_path / "out")]) == 2
    assert "missing categories; run it again" in capsys.readouterr().err


def test_similar_blocks_and_own_text_get_a_table_that_says_so(page: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "out", "a", 0.5, 4.0, blocks="consecutive", calibration_text="embedded")
    write_run(tmp_path / "out", "b", 0.5, 4.0)
    write_run(
        tmp_path / "out", "c", 0.5, 4.0, blocks="similar", calibration_text="0123456789abcdef"
    )
    assert longbench_table.main(["--take", str(tmp_path / "out")]) == 0
    text = page.read_text()
    assert text.count("| `lcc` |") == 2
    assert "s/c/u, blocks of similar tokens, fitted on own text (0123456789abcdef)," in text
