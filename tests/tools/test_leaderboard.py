"""The leaderboard: one row per sparse run, each once."""

from pathlib import Path

import pytest

from ffanalysis import load
from tools.docs import leaderboard


def test_each_sparse_run_is_a_row_with_its_origin(checkout: Path, recorded: Path) -> None:
    text = leaderboard.table(checkout)  # both sets hold the same runs
    sparse = (load.runs(recorded)["sparsity"] > 0).sum()
    assert text.count("| 2026-01-01 | 0000000000 | recorded_model |") == sparse
    line = next(
        line for line in text.splitlines() if line.endswith("`python -m ffbench selector=probe` |")
    )
    assert "probe + surrogate" in line and "test recording, avx2, 2 thr." in line


def test_rows_are_sorted_by_answer_kl_and_old_results_come_last() -> None:
    rows = leaderboard.rows(Path(__file__).parents[2])
    for _, group in rows.groupby(["model", "task"], sort=False):
        values = group["kl_continuation"].tolist()
        known = [value for value in values if value == value]
        assert values[: len(known)] == sorted(known)


def test_without_committed_runs_it_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(load.LoadError, match=r"no finished sparse runs; .*tools.docs.take"):
        leaderboard.table(tmp_path)
