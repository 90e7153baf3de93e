"""Frames from run folders and benchmark lines: columns, figures, refusals."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ffanalysis import benches, load, schema
from ffanalysis.figures import READERS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", READERS)
def test_every_frame_has_its_schema_with_and_without_rows(
    name: str, recorded: Path, tmp_path: Path
) -> None:
    for folder in (recorded, tmp_path):
        frame = READERS[name](folder)
        known = schema.FRAMES[name]
        assert list(frame.columns)[: len(known)] == list(known)
        assert all(
            frame[title].dtype == "float64"
            for title, column in known.items()
            if column.kind == "number"
        )
        assert frame.empty == (folder == tmp_path)


def test_frames_page_is_in_step() -> None:
    assert (ROOT / "docs" / "frames.md").read_text() == schema.documentation() + "\n"


def test_a_run_is_one_row_with_its_figures(recorded: Path) -> None:
    frame = load.runs(recorded).set_index("run_key")
    result = json.loads((recorded / "runs" / f"{6:016x}" / "result.json").read_text())
    row = frame.loc[f"{6:016x}"]
    assert (
        row["kl"] == result["fidelity"]["mean"]["kl"]
        and row["ffn_speedup"] == result["speed"]["ffn"]["ratio"]
    )
    assert row["ttft_tokens"] == 2048 and row["ttft_p20"] == result["speed"]["ttft"][0]["p20"]
    assert (
        row["loss_rel_high"] == result["mean"]["loss_rel_high"] and row["flops_selector"] == 0.003
    )
    assert row["nll_gain_rel_high"] == result["mean"]["nll_gain_rel_high"] and not row["per_token"]
    assert row["command"] == "python -m ffbench sparsity=0.5 selector=trained compensator=surrogate"
    dense = frame.loc[f"{1:016x}"]
    assert pd.isna(dense["kl"]) and pd.isna(dense["ttft_speedup"]) and dense["loss_abs"] == 0


def test_results_of_before_get_their_nll_gain_without_an_interval(
    change: Callable, copied: Path
) -> None:
    change(
        6,
        mean={"n": 3, "nll": 1.5, "nll_dense": 1.2},
        tasks={"t": {"n": 3, "nll": 1.5, "nll_dense": 1.2}},
    )
    for frame in (load.runs(copied, [f"{6:016x}"]), load.tasks(copied, [f"{6:016x}"])):
        row = frame.iloc[0]
        assert row["nll_gain_rel"] == pytest.approx(0.25) and row["nll_gain_abs"] == pytest.approx(
            0.3
        )
        assert pd.isna(row["nll_gain_rel_low"])


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
    change(30, buckets={"qasper": {"0-4k": {"score": 1.0, "n": 3}}}, categories=None)
    frame = load.groups(copied, [f"{30:016x}"])
    assert frame[["task", "group", "score", "n"]].values.tolist() == [["qasper", "0-4k", 1.0, 3.0]]


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
    with pytest.raises(load.LoadError, match=f"no result in .*: {'f' * 16}, {'e' * 16}; .*status"):
        load.runs(recorded, ["f" * 16, "e" * 16])


def test_mixed_schema_versions_are_refused(change: Callable, copied: Path) -> None:
    change(3, schema_version=2)
    change(4, schema_version=2)
    with pytest.raises(
        load.LoadError, match=rf"2 of version 2 \(first: {3:016x}\); schema version 1 is read here"
    ):
        load.runs(copied)
    assert len(load.runs(copied, [f"{5:016x}"])) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable"),
        ("[]", "expected an object"),
        ('{"schema_version": 1}', "missing run_key, sparsity"),
    ],
)
def test_damaged_results_are_named(text: str, message: str, copied: Path) -> None:
    path = copied / "runs" / f"{3:016x}" / "result.json"
    path.write_text(text)
    with pytest.raises(load.LoadError, match=message) as raised:
        load.runs(copied)
    assert f"{3:016x}" in str(raised.value)


def test_a_text_where_a_number_is_due_is_refused(change: Callable, copied: Path) -> None:
    change(3, density_used="half")
    with pytest.raises(load.LoadError, match=r"runs.density_used: expected a number, found 'half'"):
        load.runs(copied)


def test_a_damaged_answer_is_named_by_line(copied: Path) -> None:
    path = copied / "runs" / f"{6:016x}" / "answers.jsonl"
    path.write_text('{"task": "a"}\n{"ta\n')
    with pytest.raises(load.LoadError, match=r"answers.jsonl line 2"):
        load.answers(copied)


def test_kernel_lines_get_their_intensity(recorded: Path, tmp_path: Path) -> None:
    frame = benches.kernels(recorded)
    row = frame[
        (frame["shape"] == "llama3.2-1b") & (frame["dtype"] == "bf16") & (frame["block"] == 128)
    ].iloc[0]
    flops, moved = 6 * 2048 * 2048 * 8192 * 0.5, 2 * (16 * 3 * 2048 * 4096 + 2 * 2048 * 2048)
    assert row["intensity"] == pytest.approx(flops / moved)
    (tmp_path / "kernels.jsonl").write_text('{"ratio_eager": 1.5}\n')
    with pytest.raises(load.LoadError, match=r"kernels.jsonl line 1: missing ideal, gflops"):
        benches.kernels(tmp_path)


def test_the_last_selector_line_counts(recorded: Path, tmp_path: Path) -> None:
    lines = (recorded / "selectors.jsonl").read_text().splitlines()
    again = json.loads(lines[0])
    again["fidelity"]["mean"]["kl"] = 9.0
    (tmp_path / "selectors.jsonl").write_text("\n".join([*lines, json.dumps(again)]) + "\n")
    frame = benches.selections(tmp_path)
    assert (
        len(frame) == len(lines)
        and frame.loc[frame["selector"] == again["selector"], "kl"].item() == 9.0
    )


def test_analysis_imports_no_torch_hydra_or_wandb() -> None:
    code = (
        "import sys, ffanalysis.figures, ffanalysis.compare, tools.docs.readme, ffanalysis.notebook_runner; "
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
