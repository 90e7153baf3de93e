"""Tables: intervals, arrows, the best in bold, every format."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from ffanalysis import load, tables


@pytest.fixture
def frame() -> pd.DataFrame:
    base = {
        "model": "m_1",
        "task": "t",
        "scheduler": "uniform",
        "compensator": "none",
        "ttft_speedup": 1.1,
    }
    rows = [
        base | {"run_key": "a", "selector": "dense", "sparsity": 0.0, "kl": 0.0},
        base
        | {
            "run_key": "b",
            "selector": "static",
            "sparsity": 0.5,
            "kl": 0.6,
            "kl_low": 0.5,
            "kl_high": 0.75,
        },
        base
        | {
            "run_key": "c",
            "selector": "trained",
            "sparsity": 0.5,
            "kl": 0.4,
            "kl_low": 0.35,
            "kl_high": 0.5,
        },
        base | {"run_key": "d", "selector": "oracle", "sparsity": 0.5, "kl": 0.2},
        base | {"run_key": "e", "selector": "trained", "sparsity": 0.7, "kl": 0.9},
    ]
    return pd.DataFrame(rows)


def test_the_best_of_each_sparsity_is_bold_but_no_bound_and_no_tie(frame: pd.DataFrame) -> None:
    text = tables.markdown(frame, ("selector", "sparsity", "kl", "ttft_speedup"))
    assert (
        text.splitlines()[0]
        == f"| selector | sparsity | KL {tables.DOWN} | TTFT speedup {tables.UP} |"
    )
    assert text.count("**") == 2 and "| trained | 0.5 | **0.400 (0.350 to 0.500)** | 1.10 |" in text
    assert "| oracle | 0.5 | 0.200 | 1.10 |" in text


def test_rules_by_token_are_marked_and_take_no_part(frame: pd.DataFrame) -> None:
    frame = frame.assign(per_token=[False, False, False, False, False])
    frame.loc[2, "per_token"] = True
    text = tables.report(frame, "md", ("selector", "kl"))
    assert "| trained (per token) | 0.400" in text and "**" not in text


def test_positions_hold_where_an_index_repeats(frame: pd.DataFrame) -> None:
    frame.index = pd.Index([0] * len(frame))
    assert "| trained | **0.400" in tables.markdown(frame, ("selector", "kl"))


def test_columns_that_say_nothing_are_left_out(frame: pd.DataFrame) -> None:
    assert "block" not in tables.markdown(frame.assign(block_size=None), ("selector", "block_size"))


def test_no_negative_zero() -> None:
    assert (
        tables.number(-0.001, tables.Shown("x", 2)) == "0.00"
        and tables.number(-0.01, tables.Shown("x", 2)) == "-0.01"
    )


def test_special_characters_are_escaped(frame: pd.DataFrame) -> None:
    frame.loc[0, "selector"] = "a|b&c_d%"
    assert r"| a\|b&c_d% |" in tables.markdown(frame, ("selector", "model"))
    text = tables.latex(frame, ("selector", "model", "kl"))
    assert (
        r"a|b\&c\_d\% & m\_1" in text
        and r"KL $\downarrow$" in text
        and r"\textbf{0.400 (0.350 to 0.500)}" in text
    )
    assert text.startswith(r"\begin{tabular}{llr}")


def test_all_formats_tell_the_same(recorded: Path) -> None:
    frame = load.runs(recorded)
    csv = pd.read_csv(io.StringIO(tables.report(frame, "csv")), dtype={"run_key": str}).set_index(
        "run_key"
    )
    rows = {row["run_key"]: row for row in json.loads(tables.report(frame, "json"))}
    key = f"{6:016x}"
    assert csv.loc[key, "kl"] == rows[key]["kl"] == frame.set_index("run_key").loc[key, "kl"]
    assert len(csv) == len(rows) == len(frame) == tables.report(frame, "md").count("\n") - 1
    assert tables.report(frame, "latex").count(r"\\") == len(frame) + 1
    with pytest.raises(ValueError, match="md, csv, json, latex"):
        tables.report(frame, "xlsx")
