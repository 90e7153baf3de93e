"""Two runs beside each other."""

import json
from pathlib import Path

import numpy as np
import pytest

from ffanalysis import compare, load

FIRST, SECOND, DENSE = (f"{number:016x}" for number in (6, 7, 1))


def test_records_are_paired_by_task_and_id(copied: Path) -> None:
    for key, shift in ((FIRST, 0.0), (SECOND, 2.0)):
        rows = [
            {"task": "one", "record_id": str(i), "score": 10.0 * i + shift, "nll": 1 + shift}
            for i in range(5)
        ]
        rows += [{"task": "one", "record_id": f"only {key}", "score": 0.0, "nll": 9.0}]
        (copied / "runs" / key / "answers.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows)
        )
    table = compare.paired(copied, FIRST, SECOND).set_index("measure")
    assert table["n"].tolist() == [5, 5] and table["alone"].tolist() == [2, 2]
    assert (
        table.loc["score", "difference"]
        == table.loc["score", "low"]
        == table.loc["score", "high"]
        == pytest.approx(2.0)
    )
    assert table.loc["nll", "difference"] == pytest.approx(2.0)
    text = compare.compare(copied, FIRST, SECOND)
    assert "one: 20.000 | 22.000, +2.000 (+2.000 to +2.000), n = 5, 2 more in one run only" in text


def test_settings_that_differ_are_named(recorded: Path) -> None:
    text = compare.compare(recorded, FIRST, SECOND)
    assert (
        '  selector.name: "trained" | "static"' in text
        and "  kl: 0.44 | 0.5" in text
        and "block_size" not in text
    )
    assert text.count(", n = 6") == 4


def test_a_dense_run_compares_through_the_shared_answers(recorded: Path) -> None:
    text = compare.compare(recorded, DENSE, FIRST)
    assert (
        "  sparsity: 0.0 | 0.5" in text and "  kl: - | 0.44" in text and text.count(", n = 6") == 4
    )


def test_without_answers_it_says_so(recorded: Path) -> None:
    assert "No records in common" in compare.compare(recorded, f"{2:016x}", f"{3:016x}")


def test_the_same_run_or_none_is_refused(recorded: Path) -> None:
    with pytest.raises(load.LoadError, match="same run"):
        compare.compare(recorded, FIRST, FIRST)
    with pytest.raises(load.LoadError, match="no result"):
        compare.compare(recorded, FIRST, "f" * 16)


def test_the_interval_is_near_the_normal_one_on_many_records() -> None:
    gaps = np.random.default_rng(1).normal(1.0, 2.0, 400)
    low, high = compare.interval(gaps)
    assert low < gaps.mean() < high and high - low == pytest.approx(
        2 * 1.96 * gaps.std() / 20, rel=0.15
    )
