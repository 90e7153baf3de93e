"""Tables: intervals, arrows, the best in bold, settings that differ, seeds, every format."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ffanalysis import formats, machines, report, tables
from ffanalysis.source import Source

PUBLISHED = Path(__file__).parents[2] / "benchmarks" / "results"


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


def test_the_best_of_each_sparsity_is_bold_but_no_bound(frame: pd.DataFrame) -> None:
    columns = ("selector", "sparsity", "kl", "ttft_speedup")
    text = tables.markdown(frame, columns)
    heading = f"| selector | sparsity | KL {formats.DOWN} | TTFT speedup {formats.UP} |"
    assert text.splitlines()[0] == heading and "**" not in text  # intervals overlap
    frame.loc[2, ["kl_low", "kl_high"]] = 0.35, 0.45
    text = tables.markdown(frame, columns)
    assert (
        text.count("**") == 2 and "| trained | 0.5 | **0.4000 (0.3500 to 0.4500)** | 1.10 |" in text
    )
    assert "| oracle | 0.5 | 0.2000 | 1.10 |" in text


@pytest.mark.parametrize("name", ["tail", "context", "task.max_length"])
def test_rows_of_another_tail_or_length_are_not_compared(frame: pd.DataFrame, name: str) -> None:
    rows = frame[frame["run_key"].isin(["b", "c"])].assign(kl_high=[0.75, 0.45])
    assert tables.best_rows(rows, "kl") == {1}
    assert tables.best_rows(rows.assign(**{name: [1, 2]}), "kl") == set()


def test_no_gain_inside_its_interval_is_bold() -> None:
    rows = {
        "sparsity": [0.5, 0.5],
        "loss_abs": [-4.6, 9.0],
        "loss_abs_low": [-14.0, 8.0],
        "loss_abs_high": [4.0, 10.0],
    }
    assert tables.best_rows(pd.DataFrame(rows), "loss_abs") == set()
    rows["loss_abs_high"][0] = -1.0
    assert tables.best_rows(pd.DataFrame(rows), "loss_abs") == {0}


def test_a_row_without_an_interval_cannot_be_told_from_the_best(frame: pd.DataFrame) -> None:
    rows = frame[frame["run_key"].isin(["b", "c"])].assign(kl_high=[0.75, 0.45])
    assert tables.best_rows(rows, "kl") == {1}
    assert tables.best_rows(rows.assign(kl_high=[None, 0.45]), "kl") == set()
    assert tables.best_rows(rows.assign(kl=[None, 0.4]), "kl") == set()  # nothing to compare with
    assert tables.best_rows(rows, "kl", within=("run_key",)) == set()


TIMED = {
    "sparsity": 0.5,
    "ttft_speedup": [1.1, 1.5],
    "ttft_p20": [1.08, 1.45],
    "ttft_p80": [1.12, 1.55],
    "flops_used": [0.6, 0.7],
    "device": "cpu",
    "gpu": None,
    "cpu": "Xeon",
    "instruction_set": "avx512",
    "threads": 1.0,
}


@pytest.mark.parametrize(
    "other",
    [
        {"cpu": ["EPYC", "Xeon"]},
        {"instruction_set": ["avx2", "avx512"]},
        {"threads": [1.0, 2.0]},
        {"device": ["cpu", "cuda"], "gpu": [None, "H100"]},
        {"device": "cuda", "gpu": ["H100", "A100"]},
        {"device": "cuda:0", "gpu": None},
        {"cpu": None},
        {"busy": [False, True]},
    ],
    ids=str,
)
def test_times_are_compared_on_one_known_and_quiet_machine(other: dict[str, object]) -> None:
    rows = pd.DataFrame(TIMED)
    assert tables.best_rows(rows, "ttft_speedup") == {1}
    rows = rows.assign(**other)
    assert tables.best_rows(rows, "ttft_speedup") == set()
    assert tables.best_rows(rows, "flops_used") == {0}  # counted, so the machine does not matter


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "Xeon, avx512, 1 thr."),
        ({"device": "cuda:0", "gpu": "NVIDIA H100"}, "NVIDIA H100"),
        ({"device": "NVIDIA H100"}, "NVIDIA H100"),  # a benchmark's line
        ({"cpu": None, "instruction_set": None, "threads": None}, "-"),
    ],
    ids=str,
)
def test_a_machine_has_a_name(changes: dict[str, object], expected: str) -> None:
    assert machines.name(pd.DataFrame(TIMED).assign(**changes).iloc[0]) == expected


def test_measured_numbers_without_an_interval_are_never_bold_but_counted_ones_are() -> None:
    rows = pd.DataFrame({"sparsity": 0.5, "ffn_ratio": [1.1, 1.9], "flops_used": [0.6, 0.7]})
    assert tables.best_rows(rows, "ffn_ratio") == set()
    assert tables.best_rows(rows, "flops_used") == {0}
    rows = rows.assign(flops_used=[0.60001, 0.60002])  # equal as shown
    assert tables.best_rows(rows, "flops_used") == set()


def test_rules_by_token_are_marked_and_take_no_part(frame: pd.DataFrame) -> None:
    frame = frame.assign(per_token=[False, False, True, False, False])
    frame.loc[2, ["kl_low", "kl_high"]] = 0.35, 0.45
    part = report.Part(frame, ("kl",))
    text = report.text_table(part)
    assert "trained (per token)" in text and "**" not in text


def test_positions_hold_if_an_index_repeats(frame: pd.DataFrame) -> None:
    frame.loc[2, ["kl_low", "kl_high"]] = 0.35, 0.45
    frame.index = pd.Index([0] * len(frame))
    assert "| trained | **0.4000" in tables.markdown(frame, ("selector", "kl"))


def test_empty_columns_are_left_out(frame: pd.DataFrame) -> None:
    assert "block" not in tables.markdown(frame.assign(block_size=None), ("selector", "block_size"))


def test_no_negative_zero() -> None:
    how = formats.ColumnFormat("x", 2)
    assert tables.number(-0.001, how) == "0.00" and tables.number(-0.01, how) == "-0.01"


def test_times_of_a_busy_machine_are_marked() -> None:
    row = pd.Series({"ttft_speedup": 1.2, "ttft_p20": 1.1, "ttft_p80": 1.3, "busy": True})
    assert tables.cell(row, "ttft_speedup") == "1.20 (1.10 to 1.30) on a busy machine"
    assert tables.cell(row.replace({True: False}), "ttft_speedup") == "1.20 (1.10 to 1.30)"


def test_special_characters_are_escaped(frame: pd.DataFrame) -> None:
    frame.loc[0, "selector"] = "a|b&c_d%"
    assert r"| a\|b&c_d% |" in tables.markdown(frame, ("selector", "model"))
    text = tables.latex(frame, ("selector", "model", "kl"))
    assert r"a|b\&c\_d\% & m\_1" in text and r"KL $\downarrow$" in text
    assert text.startswith(r"\begin{tabular}{llr}") and r"\midrule" in text


def test_all_formats_tell_the_same(recorded: Path) -> None:
    source = Source(recorded)
    frame = source.runs()
    text = report.report(source, "csv")
    csv = pd.read_csv(io.StringIO(text), dtype={"run_key": str}).set_index("run_key")
    rows = {row["run_key"]: row for row in json.loads(report.report(source, "json"))}
    key = f"{6:016x}"
    expected = frame.set_index("run_key").loc[key, "kl_continuation"]
    assert csv.loc[key, "kl_continuation"] == rows[key]["kl_continuation"] == expected
    # csv and json keep every seed; md and latex have one row for the three
    assert len(csv) == len(rows) == len(frame)
    assert report.report(source, "md", "seed").count("\n") - 3 == len(frame)
    assert report.report(source).count("\n") - 3 == len(frame) - 2
    assert report.report(source, "latex").count(r"\\") == len(frame) - 2 + 1
    for style, by in (("xlsx", "run"), ("md", "colour")):
        with pytest.raises(ValueError, match="is unknown; valid: "):
            report.report(source, style, by)


def test_failed_scorers_are_told_below_the_table(change: Callable, copied: Path) -> None:
    keys = [f"{key:016x}" for key in (6, 7, 8)]
    assert "note: " not in report.report(Source(copied, run_keys=keys))
    for number, count in ((6, 0), (7, 2), (8, 1)):
        task = {"n": 3, "scorer_failures": count}
        change(number, scorer_failures=count, tasks={"one": task, "two": {"n": 3}})
    source = Source(copied, run_keys=keys)
    runs, tasks = report.report(source), report.report(source, by="task")
    for text in (runs, tasks):
        last = text.splitlines()[-1]
        assert last.startswith("note: scorers failed on answers") and keys[0] not in last
        assert f"run {keys[1]} (2), {keys[2]} (1); score_error" in last
    assert "% note: scorers failed" in report.report(source, "latex")
    assert "note" not in (report.task_rows(source, 30) or "note")  # once at the end of a run
    assert "note: scorers failed on answers" in report.render(source, "html")


def test_prompt_kl_is_shown_for_old_results_only(recorded: Path) -> None:
    assert "prompt KL" not in report.report(Source(recorded))
    text = report.report(Source(PUBLISHED / "tuned"))
    assert "prompt KL" in text and "answer KL" not in text and "tune_steps" in text
