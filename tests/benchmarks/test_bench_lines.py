"""The lines of benchmarks' files, and what their command lines share."""

import argparse
from pathlib import Path

import pytest
from bench_lines import append, count, keys_of, settings_parser, with_defaults


def test_counts_below_one_are_refused_before_any_work(capsys: pytest.CaptureFixture[str]) -> None:
    parser = settings_parser("x", "out.jsonl")
    parser.add_argument("--rounds", type=count)
    assert parser.parse_args(["--rounds", "3"]).rounds == 3
    for text, reason in (("0", "0 is too small; choose 1 or more"), ("x", "invalid count value")):
        with pytest.raises(SystemExit, match="2"):
            parser.parse_args(["--rounds", text])
        assert f"argument --rounds: {reason}" in capsys.readouterr().err
    with pytest.raises(argparse.ArgumentTypeError):
        count("-1")


def test_a_given_setting_wins_over_a_default() -> None:
    defaults = ["task=none", "seed=3"]
    assert with_defaults(["seed=1,2", "sparsity=0.5"], defaults) == [
        "task=none",
        "seed=1,2",
        "sparsity=0.5",
    ]


def test_lines_are_found_by_their_keys(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lines.jsonl"
    assert keys_of(path) == set()
    for key in ("a", "b"):
        append(path, {"key": key})
    assert keys_of(path) == {"a", "b"}
