"""Every figure is drawn from the recordings, or says what it lacks; what it shows is what was
measured."""

import re
from pathlib import Path

import pandas as pd
import pytest

from ffanalysis import figures, load, plots
from ffanalysis.figures import FIGURES, Source
from ffanalysis.plots import common, quality, speed

CLAIMING = (
    "pareto",
    "loss_by_sparsity",
    "longbench",
    "length_buckets",
    "speed_by_length",
    "speed_by_shape",
)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_and_calls_claims_claims(
    name: str, recorded: Path, tmp_path: Path
) -> None:
    path = figures.draw(name, Source(recorded, recorded), tmp_path)
    svg = path.with_suffix(".svg").read_text()
    words = " ".join(re.findall(r"<!-- (.*?) -->", svg, re.DOTALL))
    assert path.stat().st_size > 10_000 and "</svg>" in svg
    assert ("claim" in words) == ("are claims, not" in words) == (name in CLAIMING)


@pytest.mark.parametrize("name", FIGURES)
def test_without_figures_of_its_kind_it_names_a_command(name: str, tmp_path: Path) -> None:
    with pytest.raises(plots.NothingToDraw, match="python "):
        figures.draw(name, Source(tmp_path, tmp_path), tmp_path)


def test_make_tells_what_it_could_not_draw_and_drops_its_older_picture(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: FIGURES[name] for name in ("union", "roofline")}
    monkeypatch.setattr(figures, "FIGURES", few)
    folder = tmp_path / "plots"
    lines = figures.make(Source(copied, copied), folder)
    assert (
        len([line for line in lines if line.endswith(".svg")]) == 2
        and (folder / "tasks.tex").exists()
    )
    (copied / "kernels.jsonl").unlink()
    lines = figures.make(Source(copied, copied), folder)
    assert any(line.startswith("roofline: not drawn: no lines in kernels.jsonl") for line in lines)
    assert not (folder / "roofline.png").exists() and not (folder / "roofline.svg").exists()


def test_no_runs_say_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(
        load.LoadError,
        match=r"no done runs in .*; start some with: python -m ffbench \+sweep=sparsity",
    ):
        figures.make(Source(tmp_path), tmp_path / "plots")
    assert not (tmp_path / "plots").exists()


def test_the_front_leaves_out_what_another_run_or_dense_beats() -> None:
    rows = pd.DataFrame(
        {"ttft_speedup": [0.9, 1.1, 1.2, 1.2, 1.4, 1.3], "kl": [0.01, 0.2, 0.3, 0.25, 0.9, 0.95]}
    )
    assert quality.front(rows, "kl").index.tolist() == [1, 3, 4]


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([0.9, 1.1, 1.2], 2**9.5),
        ([1.1, 1.2, 1.3], 512),
        ([0.8, 0.9, 0.95], None),
        ([1.1, 0.9, 1.1], 2**10.5),
    ],
)
def test_break_even_is_where_sparse_wins_for_good(
    ratios: list[float], expected: float | None
) -> None:
    found = speed.break_even(pd.DataFrame({"tokens": [512, 1024, 2048], "ratio": ratios}))
    assert found == (None if expected is None else pytest.approx(expected))


def test_names_tell_only_what_differs() -> None:
    rows = pd.DataFrame(
        {
            "selector": ["a", "a", "b"],
            "compensator": "c",
            "scheduler": "uniform",
            "group_size": [1, 32, 1],
            "block_size": 128,
        }
    )
    assert common.method_names(rows).tolist() == ["a + c", "a + c, groups of 32", "b + c"]
    rows = rows.assign(
        group_size=1,
        blocks=["consecutive", "similar", "consecutive"],
        calibration_text=["embedded", "embedded", "0123456789abcdef"],
    )
    assert common.method_names(rows).tolist() == [
        "a + c",
        "a + c, similar tokens",
        "b + c, fitted on text 0123456789abcdef",
    ]


def test_figures_keep_to_one_setting_and_say_it(recorded: Path) -> None:
    rows, words = common.same_settings(load.runs(recorded).query("sparsity > 0"))
    assert set(rows["block_size"]) == {128} and set(rows["group_size"]) == {1}
    assert "block 128" in words and "any rows" in words and "no hot set" in words
    both = rows.assign(blocks=["similar"] + ["consecutive"] * (len(rows) - 1))
    kept, words = common.same_settings(both)
    assert len(kept) == len(rows) - 1 and "blocks of neighbours" in words


def test_unmeasured_ends_make_no_bar() -> None:
    rows = pd.DataFrame({"v": [1.0, 2.0], "low": [0.5, None], "high": [1.5, None]})
    assert common.errors(rows, "v", "low", "high").tolist() == [[0.5, 0.0], [0.5, 0.0]]
