"""The fitted exponents of docs/growth.md."""

import json
from pathlib import Path

import numpy as np
import pytest

from tools.docs import growth


def test_exponent_is_the_slope_of_logs() -> None:
    sizes, seconds = [1, 10, 100, 700], [0.3, 2.0, 31.0, 150.0]
    expected = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
    assert growth.exponent(sizes, seconds) == pytest.approx(expected, rel=1e-9)
    assert growth.exponent([5], [1.0]) is None


def test_rows_are_those_of_the_newest_commit(tmp_path: Path) -> None:
    assert growth.table(tmp_path) == "Not measured yet."
    base = {"growth": "runs", "cpu": "a", "threads": 2, "peak_gigabytes": 0.5}
    lines = [
        base | {"git_sha": git, "size": size, "seconds": seconds}
        for git, size, seconds in (("old", 10, 9.0), ("new", 1000, 20.0), ("new", 100, 2.0))
    ]
    path = tmp_path / "benchmarks" / "results" / "growth.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    row = "| report against runs | 100, 1,000 | 2.00, 20.00 | 1.00 | 1.00 | 0.50 GB |"
    assert row in growth.table(tmp_path) and "old" not in growth.table(tmp_path)
