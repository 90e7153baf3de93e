"""The leaderboard is what its command makes of the committed runs."""

from pathlib import Path

import pytest

from ffanalysis import load
from tools.docs import leaderboard, readme

ROOT = Path(__file__).parents[2]


def test_the_committed_file_is_what_the_command_makes() -> None:
    assert (ROOT / leaderboard.TARGET).read_text() == leaderboard.page(ROOT)


def test_each_sparse_run_is_a_row_with_its_origin(recorded: Path, tmp_path: Path) -> None:
    for name in ("default", "again"):
        readme.take(recorded, tmp_path / leaderboard.RESULTS / name)
    text = leaderboard.page(tmp_path)
    runs = load.runs(recorded)
    assert (
        text.count("| 2026-01-01 | 0000000000 | recorded_model |") == (runs["sparsity"] > 0).sum()
    )
    line = next(
        line for line in text.splitlines() if line.endswith("`python -m ffbench selector=probe` |")
    )
    assert (
        "probe + surrogate | 0.5 |" in line
        and "0.520 (0.458 to 0.593)" in line
        and "test recording, 2 thr." in line
    )


def test_nothing_committed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["leaderboard", "--root", str(tmp_path)])
    assert leaderboard.main() == 2 and "no done sparse runs under" in capsys.readouterr().err
