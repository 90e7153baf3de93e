"""Tables: intervals, arrows, the best in bold, settings that differ, seeds, every format."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ffanalysis import formats, load, machines, report, seeds, settings, tables
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


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ((6, 22, 25), ["block_size"]),
        ((6, 26), ["group_size"]),
        ((6, 32), ["seed"]),
        ((6, 8), ["compensator.output_map_rank", "compensator.tune_steps"]),
        ((16, 17), ["selector.block"]),
        ((6, 7), ["selector"]),
        ((1, 6), ["sparsity"]),
        ((1, 2, 6), ["sparsity"]),
        ((6,), []),
    ],
)
def test_the_settings_that_differ_are_columns_and_the_others_stand_above(
    keys: tuple[int, ...], expected: list[str], recorded: Path
) -> None:
    source = Source(recorded, run_keys=[f"{key:016x}" for key in keys])
    assert settings.differing(source.runs()) == expected
    above, _, table = report.report(source, by="seed").partition("\n\n")
    head = table.splitlines()[0]
    for name in expected:
        assert settings.title(name).split(".")[-1] in head
        # a method that differs may still have parameters that its rows share
        assert name == "selector" or f"{settings.title(name)} " not in above
    if "block_size" not in expected:
        assert "block 128" in above and "| block |" not in head
    assert "compensator surrogate (rank 128" in above and "protocol whole" in above


OBJECTIVE = {"continuation": 0.5, "copy": 0.5, "full": 0.0}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"metric": "auto"}, {"metric": "output"}, ["objective.metric"]),
        ({"windows": 16}, {"windows": 4}, ["objective.windows"]),
        # older results name neither; they had 16 windows and the metric of outputs
        ({}, {"windows": 4}, ["objective.windows"]),
        ({}, {"metric": "auto"}, ["objective.metric"]),
        ({}, {"windows": 16, "metric": "output"}, []),
    ],
)
def test_what_differs_between_objectives_is_shown(
    first: dict, second: dict, expected: list[str], change: Callable, copied: Path
) -> None:
    for number, objective in ((6, first), (8, second)):
        change(number, objective=OBJECTIVE | objective, parameters={})
    source = Source(copied, run_keys=[f"{key:016x}" for key in (6, 8)])
    assert settings.differing(source.runs()) == expected
    above, _, table = report.report(source).partition("\n\n")
    head = [text.strip() for text in table.splitlines()[0].split("|")]
    for name in expected:
        assert name.split(".")[1] in head and f"{name.split('.')[1]} " not in above
    assert ("windows 16" in above) == ("objective.windows" not in expected)
    page = report.render(source, "html")
    assert all(f">{name.split('.')[1]}<" in page for name in expected)


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


@pytest.mark.parametrize(
    ("name", "values"),
    [("location", ("a/model", "b/model")), ("revision", ("main", "v2")), ("file", ("x", "y"))],
)
def test_models_of_one_name_are_told_apart(
    name: str, values: tuple[str, str], change: Callable, copied: Path
) -> None:
    for number, value in zip((6, 32), values, strict=True):  # two seeds of one setting
        path = copied / "runs" / f"{number:016x}" / "config.json"
        config = json.loads(path.read_text())
        path.write_text(json.dumps(config | {"model": config["model"] | {name: value}}))
    frame = load.runs(copied, [f"{key:016x}" for key in (6, 32)])
    assert settings.differing(frame) == [f"model.{name}", "seed"]
    assert len(seeds.collapsed(frame)) == 2


def test_a_branch_of_the_hub_is_shown_by_its_commits(copied: Path) -> None:
    keys = [f"{key:016x}" for key in (6, 32)]
    for number, key in enumerate(keys):
        folder = copied / "runs" / key
        config = json.loads((folder / "config.json").read_text())
        config["model"]["revision"] = "main"
        (folder / "config.json").write_text(json.dumps(config))
        provenance = json.loads((folder / "provenance.json").read_text())
        provenance["model_revision"] = f"{number}" * 40
        (folder / "provenance.json").write_text(json.dumps(provenance))
    frame = load.runs(copied, keys)
    assert list(frame["model.revision"]) == ["0" * 40, "1" * 40]
    assert settings.differing(frame) == ["model.revision", "seed"]


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


def test_prompt_kl_is_shown_for_old_results_only(recorded: Path) -> None:
    assert "prompt KL" not in report.report(Source(recorded))
    text = report.report(Source(PUBLISHED / "tuned"))
    assert "prompt KL" in text and "answer KL" not in text and "tune_steps" in text


def test_a_report_by_load_needs_no_runs(recorded: Path, tmp_path: Path) -> None:
    source = Source(tmp_path, recorded)
    text = report.report(source, by="load")
    assert "model recorded_model" in text and "sparsity 0.5" in text
    assert text.count(" 1024 |") == 4 and "dense TTFT p50, s" in text and "**" not in text
    assert len(json.loads(report.report(source, "json", "load"))) == 8
    with pytest.raises(load.LoadError, match="has no serve.jsonl with both .* serve-bench plan="):
        report.report(Source(tmp_path), by="load")
