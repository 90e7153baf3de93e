"""Reports: seeds in one row, rows by something else than the run."""

import json
from pathlib import Path

import pandas as pd
import pytest

from ffanalysis import load, report, seeds, tables
from ffanalysis.source import Source


def test_seeds_are_one_row_with_students_interval(recorded: Path) -> None:
    frame = load.runs(recorded, [f"{key:016x}" for key in (6, 32, 33)])
    (row,) = [row for _, row in seeds.collapsed(frame).iterrows()]
    values = frame["kl_continuation"]
    half = 4.30 * values.std() / 3**0.5  # t, 2 degrees of freedom
    assert row["seeds"] == 3 and row["kl_continuation"] == pytest.approx(values.mean())
    assert row["kl_continuation_low"] == pytest.approx(values.mean() - half)
    assert row["kl_continuation_worst"] == frame["kl_continuation_worst"].max()
    assert row["run_key"] == f"{6:016x} and 2 more" and row["run_keys"].split()[2] == f"{33:016x}"
    assert row["compensator.rank"] == 128 and row["selector"] == "trained"


def test_times_of_different_machines_have_no_mean(recorded: Path) -> None:
    frame = load.runs(recorded, [f"{key:016x}" for key in (6, 32, 33)])
    (same,) = [row for _, row in seeds.collapsed(frame).iterrows()]
    assert same["ttft_speedup"] == pytest.approx(frame["ttft_speedup"].mean())
    assert same["cpu"] == frame["cpu"].iloc[0] and same["threads"] == frame["threads"].iloc[0]
    frame["threads"] = [1.0, 1.0, 2.0]
    (row,) = [row for _, row in seeds.collapsed(frame).iterrows()]
    for name in ("threads", "ttft_speedup", "ttft_p20", "ttft_p80", "ffn_speedup"):
        assert tables.missing(row[name])
    assert row["cpu"] == same["cpu"] and row["kl_continuation"] == same["kl_continuation"]


def test_runs_of_one_seed_are_never_merged(recorded: Path) -> None:
    frame = load.runs(recorded)
    one_seed = frame[frame["seed"] == 0]
    assert seeds.collapsed(one_seed) is one_seed
    again = pd.concat([one_seed, frame[frame["seed"] > 0], one_seed.iloc[[5]]])
    assert len(seeds.collapsed(again)) == len(one_seed) + 3  # a repeated seed is not a new one


@pytest.mark.parametrize(
    ("by", "texts"),
    [
        ("task", ("embedded_code", "gov_report", "chance")),
        ("length", ("512", "1536", "0-4k", "copy")),
        ("layer", ("| layer |", "recall")),
        ("seed", ("| seed |",)),
    ],
)
def test_a_report_by_something_else(by: str, texts: tuple[str, ...], recorded: Path) -> None:
    text = report.report(Source(recorded), by=by)
    assert all(part in text for part in texts)


def test_a_report_without_such_values_names_a_command(recorded: Path) -> None:
    source = Source(recorded, run_keys=[f"{1:016x}"])
    with pytest.raises(load.LoadError, match="report --by layer: no run has .*scheduler"):
        report.report(source, by="layer")


def test_a_report_by_load_needs_no_runs(recorded: Path, tmp_path: Path) -> None:
    source = Source(tmp_path, recorded)
    text = report.report(source, by="load")
    assert "model recorded_model" in text and "sparsity 0.5" in text
    assert text.count(" 1024 |") == 4 and "dense TTFT p50, s" in text and "**" not in text
    assert len(json.loads(report.report(source, "json", "load"))) == 8
    with pytest.raises(load.LoadError, match="has no serve.jsonl with both .* serve-bench plan="):
        report.report(Source(tmp_path), by="load")
