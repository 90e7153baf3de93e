"""Frames from run folders and benchmark lines: columns, figures, refusals."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ffanalysis import bench_columns, load
from ffanalysis.plots import common
from ffanalysis.source import READERS

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "benchmarks" / "results"


@pytest.mark.parametrize("name", READERS)
def test_every_frame_has_its_schema_with_and_without_rows(
    name: str, recorded: Path, tmp_path: Path
) -> None:
    for folder in (recorded, tmp_path):
        frame = READERS[name](folder)
        known = bench_columns.FRAMES[name]
        assert list(frame.columns)[: len(known)] == list(known)
        assert all(
            frame[title].dtype == "float64"
            for title, column in known.items()
            if column.kind == "number"
        )
        assert frame.empty == (folder == tmp_path)


@pytest.mark.parametrize(
    ("in_result", "in_config", "words"),
    [
        ("test", "heldout", "32 test windows"),
        (None, "heldout", "32 held-out windows"),
        (None, None, "32 windows"),
    ],
)
def test_the_part_of_the_text_is_the_results_or_else_the_settings(
    in_result: str | None, in_config: str | None, words: str, recorded: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / f"{6:016x}"
    shutil.copytree(recorded / "runs" / folder.name, folder)
    for name, part in (("result", in_result), ("config", in_config)):
        path = folder / f"{name}.json"
        values = json.loads(path.read_text())
        values["fidelity"] = values.get("fidelity", {}) | {"part": part}
        path.write_text(json.dumps(values))
    assert common.windows_of(load.runs(tmp_path), "kl_continuation") == words


def test_a_run_is_one_row_with_its_figures(recorded: Path) -> None:
    frame = load.runs(recorded).set_index("run_key")
    result = json.loads((recorded / "runs" / f"{6:016x}" / "result.json").read_text())
    row = frame.loc[f"{6:016x}"]
    tails = result["fidelity"]["tails"]
    assert row["kl_continuation"] == tails["continuation"]["kl"]
    assert row["kl_copy_worst"] == tails["copy"]["kl_worst"] and pd.isna(row["kl_question"])
    assert row["nll_increase_copy_low"] == tails["copy"]["nll_increase_low"]
    assert row["kl_prompt"] == result["fidelity"]["prompt"]["kl"]
    assert row["ffn_speedup"] == result["speed"]["ffn"]["ratio"] and row["busy"] is False
    assert row["compensator.rank"] == 128 and row["objective.copy"] == 1
    assert row["ttft_tokens"] == 2048 and row["ttft_p20"] == result["speed"]["ttft"][0]["p20"]
    assert (
        row["loss_rel_high"] == result["mean"]["loss_rel_high"] and row["flops_selector"] == 0.003
    )
    assert row["nll_increase_rel_high"] == result["mean"]["nll_increase_rel_high"]
    assert (
        row["gold_ppl_ratio_low"] == result["mean"]["gold_ppl_ratio_low"] and not row["per_token"]
    )
    assert row["command"] == "python -m ffbench sparsity=0.5 selector=trained compensator=surrogate"
    dense = frame.loc[f"{1:016x}"]
    assert (
        pd.isna(dense["kl_continuation"])
        and pd.isna(dense["ttft_speedup"])
        and dense["loss_abs"] == 0
    )


def test_results_without_the_nll_increase_get_it_without_an_interval(
    change: Callable, copied: Path
) -> None:
    change(
        6,
        mean={"n": 3, "nll": 1.5, "nll_dense": 1.2},
        tasks={"t": {"n": 3, "nll": 1.5, "nll_dense": 1.2}},
    )
    for frame in (load.runs(copied, [f"{6:016x}"]), load.tasks(copied, [f"{6:016x}"])):
        row = frame.iloc[0]
        assert row["nll_increase_rel"] == pytest.approx(0.25)
        assert row["nll_increase_abs"] == pytest.approx(0.3)
        assert pd.isna(row["nll_increase_rel_low"])


def test_runs_without_a_sweep_list_or_provenance(copied: Path) -> None:
    for path in (copied / "sweeps").iterdir():
        path.unlink()
    (copied / "runs" / f"{7:016x}" / "provenance.json").unlink()
    frame = load.runs(copied).set_index("run_key")
    assert frame.loc[f"{6:016x}", "command"] == "python -m ffbench +sweep=sparsity"
    assert frame.loc[f"{7:016x}", "command"] is None and frame.loc[f"{7:016x}", "git_sha"] is None


def test_longer_frames_have_a_row_for_each_thing(recorded: Path) -> None:
    keys = [f"{6:016x}"]
    assert len(load.tasks(recorded, keys)) == 2 and len(load.layers(recorded, keys)) == 8
    assert len(load.timings(recorded, keys)) == 5 and len(load.answers(recorded, keys)) == 12
    assert set(load.groups(recorded)["kind"]) == {"category", "bucket"}
    assert load.runs(recorded, [f"{3:016x}", f"{2:016x}"])["run_key"].tolist() == [
        f"{3:016x}",
        f"{2:016x}",
    ]


def test_buckets_of_each_task_keep_its_name(change: Callable, copied: Path) -> None:
    task = {"n": 3, "buckets": {"0-4k": {"score": 1.0, "n": 3}}}
    change(30, buckets=None, categories=None, tasks={"qasper": task})
    frame = load.groups(copied, [f"{30:016x}"])
    assert frame[["task", "group", "score", "n"]].values.tolist() == [["qasper", "0-4k", 1.0, 3.0]]
    assert "buckets" not in load.tasks(copied, [f"{30:016x}"])


def test_dense_answers_come_from_the_shared_stage(recorded: Path) -> None:
    frame = load.answers(recorded, [f"{1:016x}"])
    assert len(frame) == 12 and set(frame["run_key"]) == {f"{1:016x}"}


def test_ideal_is_amdahl_on_the_measured_ffn_share(recorded: Path) -> None:
    row = load.timings(recorded, [f"{6:016x}"]).iloc[0]
    result = json.loads((recorded / "runs" / f"{6:016x}" / "result.json").read_text())
    ffn, whole = result["speed"]["ffn"]["dense_s"], result["speed"]["ttft"][0]["dense_s"]
    assert row["ideal"] == pytest.approx(whole / (whole - ffn + ffn * result["flops"]["ratio"]))
    assert load.ideal_speedup(None, 0.5) is None and load.ideal_speedup(1.0, 0.5) == 2


def test_runs_that_are_not_there_are_named(recorded: Path) -> None:
    with pytest.raises(
        load.LoadError, match=f"runs: no result for {'f' * 16}, {'e' * 16}; .*status"
    ):
        load.runs(recorded, ["f" * 16, "e" * 16])


def test_an_unknown_schema_version_is_refused(change: Callable, copied: Path) -> None:
    change(3, schema_version=9)
    with pytest.raises(
        load.LoadError, match=rf"{3:016x}/result.json: schema version 9; versions 1 and 2 are read"
    ):
        load.runs(copied)
    assert len(load.runs(copied, [f"{5:016x}"])) == 1


def test_results_of_schema_1_are_read_with_todays_names() -> None:
    old = ("tuned", "similar")
    frame = pd.concat([load.runs(PUBLISHED / name) for name in old])
    assert set(frame["compensator"]) == {"surrogate"} and frame["kl_continuation"].isna().all()
    assert sorted(set(frame["compensator.tune_steps"])) == [0, 120]
    assert frame["kl_prompt"].between(0.1, 0.4).all() and frame["seed"].eq(0).all()
    texts = load.fidelity(PUBLISHED / "tuned")
    assert set(texts["text"]) == {"prose", "code"} and set(texts["tail"]) == {"prompt"}


def test_settings_of_the_configuration_that_differ_follow_by_name(copied: Path) -> None:
    path = copied / "runs" / f"{6:016x}" / "config.json"
    config = json.loads(path.read_text())
    config["task"]["limit"], config["output_dir"] = 12, "elsewhere"
    path.write_text(json.dumps(config | {"calibration": {"tokens": 7}}))
    frame = load.runs(copied, [f"{6:016x}", f"{7:016x}"])
    assert frame["task.limit"].tolist() == [12, 24] and "output_dir" not in frame
    assert "calibration.tokens" not in frame  # the other run's was not recorded


def test_windows_and_fidelity_have_a_row_for_each(recorded: Path) -> None:
    keys = [f"{6:016x}"]
    windows = load.windows(recorded, keys)
    assert len(windows) == 2 * 8 * 2 * 2 and set(windows["tail"]) == {"continuation", "copy"}
    frame = load.fidelity(recorded, keys)
    whole = frame[frame["text"].isna() & frame["context"].isna()].set_index("tail")
    assert whole.loc["copy", "n"] == 32 and frame["context"].dropna().unique().tolist() == [
        512,
        1536,
    ]
    mean = windows[windows["tail"] == "copy"]["kl"].mean()
    assert whole.loc["copy", "kl"] == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable"),
        ("[]", "expected an object"),
        ('{"schema_version": 2}', "missing run_key, model, sparsity"),
        ('{"schema_version": 1}', "missing run_key, model, sparsity"),
        ('{"schema_version": 1, "fidelity": 3}', "not a result of schema version 1"),
    ],
)
def test_damaged_results_are_named(text: str, message: str, copied: Path) -> None:
    path = copied / "runs" / f"{3:016x}" / "result.json"
    path.write_text(text)
    with pytest.raises(load.LoadError, match=message) as raised:
        load.runs(copied)
    assert f"{3:016x}" in str(raised.value)


def test_a_text_in_a_number_column_is_refused(change: Callable, copied: Path) -> None:
    change(3, density_used="half")
    with pytest.raises(load.LoadError, match=r"density_used: expected a number, got 'half'"):
        load.runs(copied)
    path = copied / "runs" / f"{6:016x}" / "answers.jsonl"
    path.write_text('{"task": "a", "record_id": "1", "score": "high"}\n')
    with pytest.raises(load.LoadError, match=r"answers.score: expected a number, got 'high'"):
        load.answers(copied, [f"{6:016x}"])


def test_a_damaged_answer_is_named_by_line(copied: Path) -> None:
    path = copied / "runs" / f"{6:016x}" / "answers.jsonl"
    path.write_text('{"task": "a"}\n{"ta\n')
    with pytest.raises(load.LoadError, match=r"answers.jsonl line 2"):
        load.answers(copied)


def test_analysis_imports_no_torch_hydra_or_wandb() -> None:
    code = (
        "import sys, ffanalysis.gallery, ffanalysis.compare, tools.docs.sections, ffanalysis.notebook_runner; "
        "print([name for name in ('torch', 'hydra', 'wandb', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


def test_recordings_are_what_their_script_makes(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(recorded.parent))
    import make_recorded

    make_recorded.make(tmp_path / "made")
    made = {
        path.relative_to(tmp_path / "made"): path.read_text()
        for path in (tmp_path / "made").rglob("*.json*")
    }
    there = {path.relative_to(recorded): path.read_text() for path in recorded.rglob("*.json*")}
    assert made == there
