"""Loading, tables, comparison and figures on small runs that the tests write (synthetic values, true schema)."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import compare, load, plots, tables
from analysis.figures import make
from analysis.notebook_runner import SOURCES, NotebookError, execute


def figures(score: float, loss: float) -> dict[str, Any]:
    return {"n": 2, "score": score, "score_dense": 50.0, "loss_abs": loss, "loss_abs_low": loss - 1,
            "loss_abs_high": loss + 2, "loss_rel": loss / 50, "loss_rel_low": (loss - 1) / 50,
            "loss_rel_high": (loss + 2) / 50, "nll": 1.0, "nll_dense": 0.9, "chance": 20.0, "headline": True}


def write_run(root: Path, number: int, selector: str, sparsity: float, kl: float, **changes: Any) -> str:
    key = f"{number:016x}"
    folder = root / "runs" / key
    folder.mkdir(parents=True)
    task = figures(50 - 10 * sparsity, 10 * sparsity)
    speed = {"tokens": 2048, "ratio": 1 + sparsity / 2, "p20": 1.0, "p80": 1.5, "dense_s": 2.0, "sparse_s": 1.5, "rounds": 3}
    near = {"kl": kl, "kl_low": kl * 0.9, "kl_high": kl * 1.2, "top1_agreement": 0.8, "ppl_ratio": 1.2, "windows": 4}
    result = {"schema_version": 1, "run_key": key, "model": "synthetic", "dtype": "float32", "selector": selector,
              "compensator": "surrogate", "scheduler": "uniform", "block_size": 128, "sparsity": sparsity,
              "task": "embedded", "tasks": {"one": task, "two": task}, "mean": task, "density_used": 0.6,
              "fidelity": {"mean": near, "prose": near, "code": near} if sparsity else None,
              "speed": {"ffn": speed, "ttft": [speed], "threads": 2, "cpu": "x"} if sparsity else None,
              "recall_at_k": 0.7, "retained_energy": 0.9, "flops": {"ratio": 0.6},
              "layers": [{"layer": i, "kept": 8, "density": 0.5, "recall_at_k": 0.7, "retained_energy": 0.9}
                         for i in range(3)]}
    (folder / "result.json").write_text(json.dumps(result | changes))
    (folder / "config.json").write_text(json.dumps({"sparsity": sparsity, "selector": {"name": selector}}))
    (folder / "provenance.json").write_text(json.dumps({"git_sha": "abc", "command": ["python", "-m", "ffbench"]}))
    (folder / "answers.jsonl").write_text("".join(
        json.dumps({"task": "one", "record_id": str(i), "score": 10.0 * i + sparsity}) + "\n" for i in range(5)))
    return key


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_run(tmp_path, 1, "dense", 0.0, 0.0)
    for number, (selector, sparsity, kl) in enumerate([("static", 0.3, 0.2), ("static", 0.5, 0.6), ("trained", 0.3, 0.1),
                                                       ("trained", 0.5, 0.4)], 2):
        write_run(tmp_path, number, selector, sparsity, kl)
    return tmp_path


def test_frames_have_a_row_for_each_thing(root: Path) -> None:
    frame = load.runs(root)
    assert len(frame) == 5 and set(tables.COLUMNS) <= set(frame.columns)
    assert frame.loc[4, "kl"] == 0.4 and frame.loc[4, "ttft_speedup"] == 1.25 and pd.isna(frame.loc[0, "kl"])
    assert len(load.tasks(root)) == 10 and len(load.layers(root)) == 15
    assert len(load.timings(root)) == 4 and len(load.answers(root)) == 25
    assert load.runs(root, [f"{3:016x}"])["sparsity"].tolist() == [0.5]


def test_no_runs_make_an_empty_frame(tmp_path: Path) -> None:
    assert load.runs(tmp_path).empty and load.tasks(tmp_path).empty


def test_what_cannot_be_read_is_refused_by_name(root: Path) -> None:
    with pytest.raises(load.LoadError, match="no result"):
        load.runs(root, ["f" * 16])
    write_run(root, 9, "static", 0.5, 0.1, schema_version=7)
    with pytest.raises(load.LoadError, match="schema version 7"):
        load.runs(root)
    (root / "runs" / f"{9:016x}" / "result.json").write_text("{")
    with pytest.raises(load.LoadError, match="not readable"):
        load.runs(root)
    (root / "runs" / f"{9:016x}" / "result.json").write_text('{"schema_version": 1}')
    with pytest.raises(load.LoadError, match="missing run_key"):
        load.runs(root)


def test_the_best_of_each_sparsity_is_bold_and_intervals_stand(root: Path) -> None:
    text = tables.report(load.runs(root), "md")
    lines = text.splitlines()
    assert len(lines) == 7 and "kl \u2193" in lines[0] and "ttft_speedup \u2191" in lines[0]
    assert "**0.400 (0.360 to 0.480)**" in lines[6] and "**0.600" not in text and "| - |" in lines[2]


def test_other_formats(root: Path) -> None:
    frame = load.runs(root)
    assert len(tables.report(frame, "csv").splitlines()) == 6
    assert json.loads(tables.report(frame, "json"))[4]["kl"] == 0.4
    text = tables.report(frame, "latex")
    assert r"\textbf{0.400" in text and r"loss\_abs $\downarrow$" in text
    with pytest.raises(ValueError, match="md, csv, json, latex"):
        tables.report(frame, "xlsx")


@pytest.mark.parametrize(("draw", "frame"), [
    (plots.pareto, load.runs), (plots.loss_by_sparsity, load.runs), (plots.layer_recall, load.layers),
    (plots.layer_density, load.layers), (plots.speed_by_length, load.timings), (plots.task_losses, load.tasks),
])
def test_every_figure_is_drawn_or_says_why_not(root: Path, draw: Any, frame: Any, tmp_path: Path) -> None:
    draw(frame(root), tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 5000 and (tmp_path / "x.svg").exists()
    with pytest.raises(plots.NothingToDraw):
        draw(frame(tmp_path / "nothing"), tmp_path / "y.png")


def test_comparison_pairs_records(root: Path) -> None:
    first, second = f"{2:016x}", f"{5:016x}"
    table = compare.paired(root, first, second)
    assert table["n"].tolist() == [5] and table["difference"].iloc[0] == pytest.approx(0.2)
    text = compare.compare(root, first, second)
    assert 'selector.name: "static" | "trained"' in text and "+0.20 (+0.20 to +0.20), n = 5" in text
    with pytest.raises(load.LoadError, match="same run"):
        compare.compare(root, first, first)


def test_all_figures_at_once(root: Path, tmp_path: Path) -> None:
    lines = make(root, tmp_path / "plots")
    assert len(lines) == 9 and not any("not drawn" in line for line in lines)
    with pytest.raises(load.LoadError, match="start some with"):
        make(tmp_path / "none", tmp_path / "plots")


@pytest.mark.parametrize("name", [path.name for path in sorted(SOURCES.glob("*.py"))])
def test_notebooks_run_on_recorded_runs(root: Path, tmp_path: Path, name: str) -> None:
    path = execute(SOURCES / name, root, tmp_path / "plots")
    assert "image/png" in path.read_text()


def test_a_failing_cell_is_named(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "broken.py"
    source.write_text("# %% tags=[\"parameters\"]\noutput_dir = figures = ''\n\n# %%\n1 / 0\n")
    with pytest.raises(NotebookError, match=r"broken.py, cell 3: ZeroDivisionError|broken.py, cell 2: ZeroDivisionError"):
        execute(source, root, tmp_path / "plots")
