"""The tables of where a prefill's and the main job's time goes."""

import json
from pathlib import Path
from typing import Any

from tools.docs import prefill_time

MACHINE = {"cpu": "a", "threads": 2, "git_sha": "new", "command": "python it"}


def write(root: Path, name: str, lines: list[dict[str, Any]]) -> None:
    path = root / "benchmarks" / "results" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(MACHINE | line) + "\n" for line in lines))


def test_profile_has_an_arm_per_column_of_the_newest_commit(tmp_path: Path) -> None:
    assert prefill_time.profile(tmp_path) == "Not measured yet."
    base = {"sparsity": 0.5, "tokens": 2048, "rounds": 7, "model": "m"}
    seconds = {"dense": 2.0, "own_dense": 1.0, "sparse": 0.5}
    lines = [
        base | {"arm": arm, "seconds": {"norms": one / 4, "FFN": one * 3 / 4, "total": one}}
        for arm, one in seconds.items()
    ]
    old = [line | {"git_sha": "old", "seconds": {"FFN": 9.0, "total": 9.0}} for line in lines]
    write(tmp_path, "prefill_profile.jsonl", old + lines)
    table = prefill_time.profile(tmp_path).splitlines()
    assert table[2:5] == [
        "| FFN | 1500 | 750 | 375 |",
        "| norms | 500 | 250 | 125 |",
        "| total | 2000 | 1000 | 500 |",
    ]
    assert "2,048 tokens" in table[-1] and "git new" in table[-1]


def test_stage_rates_over_the_peak(tmp_path: Path) -> None:
    assert prefill_time.stage_rates(tmp_path) == "Not measured yet."
    stages = {
        "selection": {"seconds": 2.0, "flops": 0.0},
        "fit": {"seconds": 10.0, "flops": 2e12},
    }
    write(tmp_path, "stage_rates.jsonl", [{"stages": stages, "peak_flops": 4e11}])
    table = prefill_time.stage_rates(tmp_path)
    assert "| fit | 10 | 2.0 | 200 | 50 |\n| selection | 2 | - | - | - |" in table
    assert "12 s in all; peak 400 GFLOP/s" in table
