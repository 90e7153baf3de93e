"""Every picture is drawn from the recordings, or says what it lacks; it shows what was measured."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ffanalysis import benches, gallery, load, plots
from ffanalysis.gallery import PICTURES
from ffanalysis.plots import claims, common, fronts, speed, style
from ffanalysis.source import Source

CLAIMING = (
    "pareto",
    "loss_by_sparsity",
    "longbench",
    "length_buckets",
    "speed_by_length",
    "speed_by_shape",
)


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_is_drawn_and_calls_claims_claims(
    name: str, recorded: Path, tmp_path: Path
) -> None:
    path = gallery.draw(name, Source(recorded, recorded), tmp_path)
    svg = path.with_suffix(".svg").read_text()
    words = " ".join(re.findall(r"<!-- (.*?) -->", svg, re.DOTALL))
    assert path.stat().st_size > 10_000 and "</svg>" in svg
    assert ("claim" in words) == ("are claims, not" in words) == (name in CLAIMING)


@pytest.mark.parametrize("name", PICTURES)
def test_without_its_measurements_it_names_a_command(name: str, tmp_path: Path) -> None:
    with pytest.raises(plots.NothingToDraw, match="python "):
        gallery.draw(name, Source(tmp_path, tmp_path), tmp_path)


def test_make_tells_what_it_could_not_draw_and_drops_its_older_picture(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: PICTURES[name] for name in ("token_overlap", "roofline")}
    monkeypatch.setattr(gallery, "PICTURES", few)
    folder = tmp_path / "plots"
    lines = gallery.make(Source(copied, copied), folder)
    assert (
        len([line for line in lines if line.endswith(".svg")]) == 2
        and (folder / "tasks.tex").exists()
    )
    (copied / "kernels.jsonl").unlink()
    lines = gallery.make(Source(copied, copied), folder)
    assert any(line.startswith("roofline: not drawn: no lines in kernels.jsonl") for line in lines)
    assert not (folder / "roofline.png").exists() and not (folder / "roofline.svg").exists()


def test_no_runs_say_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(
        load.LoadError,
        match=r"no finished runs; start some with: python -m ffbench \+sweep=sparsity",
    ):
        gallery.make(Source(tmp_path), tmp_path / "plots")
    assert not (tmp_path / "plots").exists()


def test_the_front_leaves_out_what_another_run_or_dense_beats() -> None:
    rows = pd.DataFrame(
        {"ttft_speedup": [0.9, 1.1, 1.2, 1.2, 1.4, 1.3], "kl": [0.01, 0.2, 0.3, 0.25, 0.9, 0.95]}
    )
    assert fronts.front(rows, "kl").index.tolist() == [1, 3, 4]


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([0.9, 1.1, 1.2], 2**9.5),
        ([1.1, 1.2, 1.3], 512),
        ([0.8, 0.9, 0.95], None),
        ([1.1, 0.9, 1.1], 2**10.5),
    ],
)
def test_a_line_crosses_1_where_sparse_wins_for_good(
    ratios: list[float], expected: float | None
) -> None:
    found = speed.crossing(pd.DataFrame({"tokens": [512, 1024, 2048], "ratio": ratios}))
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
        "a + c, blocks of similar tokens",
        "b + c, fitted on text 0123456789abcdef",
    ]
    rows = rows.assign(
        **{"compensator.rank": [64.0, 128.0, 64.0], "selector.share": [0.1, 0.1, None]}
    )
    assert common.method_names(rows).tolist() == [
        "a + c (rank 64)",
        "a + c (rank 128), blocks of similar tokens",
        "b + c (rank 64), fitted on text 0123456789abcdef",
    ]


def test_pictures_keep_to_one_setting_and_name_it(recorded: Path) -> None:
    rows, words = common.same_settings(load.runs(recorded).query("sparsity > 0"))
    assert set(rows["block_size"]) == {128} and set(rows["group_size"]) == {1}
    assert "block 128" in words and "single neurons" in words and "no hot set" in words
    both = rows.assign(blocks=["similar"] + ["consecutive"] * (len(rows) - 1))
    kept, words = common.same_settings(both)
    assert len(kept) == len(rows) - 1 and "consecutive blocks" in words


def test_prompts_of_several_lengths_are_never_one_line(copied: Path) -> None:
    for key, length in ((6, 4096), (7, 4096), (8, 8192)):
        path = copied / "runs" / f"{key:016x}" / "config.json"
        config = json.loads(path.read_text())
        config["task"]["max_length"] = length
        path.write_text(json.dumps(config))
    source = Source(copied, run_keys=[f"{key:016x}" for key in (6, 7, 8)])
    frame = gallery.with_task_settings(source, "tasks")
    assert set(frame["task.max_length"]) == {4096, 8192} and len(frame) == len(
        source.frame("tasks")
    )
    rows, words = common.same_settings(frame)
    assert set(rows["run_key"]) == {f"{6:016x}", f"{7:016x}"} and "max_length 4096" in words


def test_a_caption_says_only_what_every_row_shares() -> None:
    rows = pd.DataFrame(
        {
            "selector": "trained",
            "blocks": ["consecutive", "consecutive", "similar"],
            "block_size": 128.0,
        }
    )
    assert common.caption(rows) == "block 128"
    assert common.caption(rows.head(2)) == "block 128, consecutive blocks"


def runs_with(source: pd.DataFrame, keys: list[int]) -> pd.DataFrame:
    return source[source["run_key"].isin([f"{key:016x}" for key in keys])]


def test_one_point_makes_no_picture(recorded: Path, tmp_path: Path) -> None:
    frame = load.runs(recorded)
    for draw in (plots.pareto, plots.loss_by_sparsity, plots.block_size):
        with pytest.raises(plots.NothingToDraw, match="python -m ffbench"):
            draw(runs_with(frame, [1, 6]), tmp_path / "x.png")
    timings = load.timings(recorded, [f"{6:016x}"])
    with pytest.raises(plots.NothingToDraw, match="only one prompt length"):
        plots.speed_by_length(timings[timings["tokens"] == 2048], tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_two_noisy_points_are_no_front(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[float]] = []
    plot = fronts.Axes.plot

    def watched(axes: Any, *places: Any, **how: Any) -> Any:
        drawn.append(list(places[0]))
        return plot(axes, *places, **how)

    monkeypatch.setattr(fronts.Axes, "plot", watched)
    frame = load.runs(recorded)
    plots.pareto(runs_with(frame, [6, 10]), tmp_path / "two.png")
    assert all(len(places) == 1 for places in drawn)  # dense alone
    plots.pareto(runs_with(frame, [6, 8, 10, 12, 13]), tmp_path / "five.png")
    assert any(len(places) > fronts.FRONT for places in drawn)


@pytest.fixture
def titles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of all panels that a test draws."""
    seen: list[str] = []
    set_title = fronts.Axes.set_title

    def watched(axes: Any, text: str, **how: Any) -> Any:
        seen.append(text)
        return set_title(axes, text, **how)

    monkeypatch.setattr(fronts.Axes, "set_title", watched)
    return seen


def test_speedups_of_two_machines_make_no_front(
    recorded: Path, tmp_path: Path, titles: list[str]
) -> None:
    frame = runs_with(load.runs(recorded), [6, 8, 10, 12])
    plots.pareto(frame, tmp_path / "one.png")
    assert len(titles) == 1
    plots.pareto(frame.assign(threads=[2.0, 2.0, 16.0, 16.0]), tmp_path / "two.png")
    assert len(titles) == 3 and sum("16 thr." in title for title in titles) == 1


def test_speedups_of_two_machines_are_not_one_line(
    recorded: Path, tmp_path: Path, titles: list[str]
) -> None:
    frame = load.timings(recorded, [f"{6:016x}"])
    plots.speed_by_length(frame, tmp_path / "one.png")
    assert titles == ["recorded_model"]
    card = frame.assign(gpu="H100", ratio=2.0)
    plots.speed_by_length(pd.concat([frame, card]), tmp_path / "two.png")
    assert len(titles) == 3 and titles[2] == "recorded_model, H100"


@pytest.mark.parametrize(
    ("note", "shown"),
    [
        ("block 128. Bars", "Block 128. Bars"),
        ("s=0.7, block 128", "s=0.7, block 128"),
        ("qwen3_06b, block 128", "qwen3_06b, block 128"),
        ("", ""),
    ],
)
def test_notes_begin_with_a_capital_but_names_keep_theirs(note: str, shown: str) -> None:
    assert style.sentence(note) == shown


def test_a_claim_is_labelled_outside_the_panel(recorded: Path, tmp_path: Path) -> None:
    figure, ((axes,),) = style.panels()
    axes.plot([1, 2], [5, 7])
    claims.loss(axes)
    claims.up(axes, 1.5, "claim")
    figure.canvas.draw()
    panel = axes.get_window_extent()
    across, up = (text.get_window_extent() for text in axes.texts)
    assert across.x0 >= panel.x1 and up.y0 >= panel.y1


def test_the_ids_of_an_svg_are_stable(recorded: Path, tmp_path: Path) -> None:
    frame = load.layers(recorded)
    for folder in ("first", "second"):
        plots.layer_density(frame, tmp_path / folder / "layer_density.svg")
    first, second = (
        (tmp_path / folder / "layer_density.svg").read_text() for folder in ("first", "second")
    )
    assert first == second


def test_published_lines_are_a_series_of_their_own(recorded: Path) -> None:
    rows = benches.speeds(recorded)
    both = pd.concat([rows, rows.assign(origin="published")], ignore_index=True)
    names = set(speed.shape_series(both))
    assert len(names) == 2 and sum(name.endswith(", published") for name in names) == 1


def test_unmeasured_ends_make_no_bar() -> None:
    rows = pd.DataFrame({"v": [1.0, 2.0], "low": [0.5, None], "high": [1.5, None]})
    assert common.errors(rows, "v", "low", "high").tolist() == [[0.5, 0.0], [0.5, 0.0]]


def test_the_last_kernel_line_counts_also_over_lines_without_an_instruction_set(
    recorded: Path,
) -> None:
    old = benches.kernels(recorded).head(2)  # recorded before instruction sets were
    same = old.assign(instruction_set="avx512", ratio_eager=9.0)
    other = old.assign(instruction_set="amx", ratio_eager=8.0)
    frame = pd.concat([old, same], ignore_index=True)
    assert plots.last_lines(frame)["ratio_eager"].tolist() == [9.0, 9.0]
    both = pd.concat([same, other], ignore_index=True)
    assert len(plots.last_lines(both)) == 4
