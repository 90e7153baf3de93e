"""The tables of README and docs/results.md: rows, captions, refusals."""

import json
import shutil
from pathlib import Path

import pytest

from ffanalysis import load
from tools.docs import results, take


def test_the_headline_is_small_and_says_its_conditions(checkout: Path) -> None:
    text = results.headline(checkout)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) <= 2 + results.MOST_ROWS
    assert table[0].count("|") - 1 <= 7
    for part in ("answer KL", "copy KL", "n = 48", "32 held-out windows", "2 threads", "avx2"):
        assert part in text
    assert "lowest to highest of 3 fresh processes" in text and "superseded" not in text


def test_each_sparsity_is_in_the_headline(checkout: Path) -> None:
    rows = results.best_first(load.runs(checkout / results.RESULTS / "default"))
    assert set(rows["sparsity"]) == {0.3, 0.5, 0.7} and len(rows) <= results.MOST_ROWS


def test_a_caption_never_says_what_only_some_rows_have(checkout: Path) -> None:
    frame = load.runs(checkout / results.RESULTS / "default")
    mixed = frame.assign(blocks=["similar", "consecutive"] * (len(frame) // 2) + ["similar"])
    assert "blocks" not in results.conditions(mixed)
    assert "blocks consecutive" in results.conditions(frame)


def test_old_results_are_marked_as_superseded() -> None:
    text = results.longbench(Path(__file__).parents[2])
    assert "prompt KL" in text and "superseded" in text


@pytest.mark.parametrize(
    ("part", "texts"),
    [
        ("longbench", ("gold ppl ratio", "Means over the headline tasks", "whole")),
        ("kernels", ("groups of 32", "single", "vs torch eager", "test recording")),
        ("speeds", ("llama3.2-1b", "layers", "2048", "random weights")),
    ],
)
def test_the_other_tables(part: str, texts: tuple[str, ...], checkout: Path) -> None:
    made = getattr(results, part)(checkout)
    assert all(text in made for text in texts)
    for path in (checkout / results.RESULTS).glob("*.jsonl"):
        path.unlink()
    if part != "longbench":
        assert getattr(results, part)(checkout) == "Not measured yet."


def test_nothing_is_taken_from_an_empty_folder_and_what_was_there_is_kept(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    target = checkout / take.RESULTS / "default"
    assert take.main([str(tmp_path / "none"), "--root", str(checkout)]) == 2
    assert "no finished runs" in capsys.readouterr().err and not load.runs(target).empty
    output = tmp_path / "runs_without_config"
    shutil.copytree(target, output)
    next(output.glob("runs/*/config.json")).unlink()
    assert take.main([str(output), "--root", str(checkout)]) == 2
    assert "config.json: No such file" in capsys.readouterr().err and not load.runs(target).empty
    assert not list(target.parent.glob("tmp*"))


def test_take_replaces_a_set(checkout: Path, recorded: Path, tmp_path: Path) -> None:
    arguments = [str(recorded), "--into", "default", "--root", str(checkout)]
    stale = checkout / take.RESULTS / "default" / "runs" / "stale"
    stale.mkdir()
    assert take.main(arguments) == 0 and not stale.exists()
    assert len(load.runs(checkout / take.RESULTS / "default")) == len(load.runs(recorded))
    with pytest.raises(SystemExit):
        take.main([str(recorded), "--into", "../up", "--root", str(checkout)])


def test_no_path_of_the_machine_is_taken(tmp_path: Path) -> None:
    from tools.docs import committed

    overrides = ["+sweep=s", f"output_dir={tmp_path}", f"task.data_dir={tmp_path}/bench"]
    sweep = {"name": "s", "jobs": [{"run_key": "k", "overrides": overrides}]}
    (tmp_path / "s.json").write_text(json.dumps(sweep))
    committed.copy_sweep(tmp_path / "s.json", tmp_path / "taken")
    jobs = json.loads((tmp_path / "taken" / "s.json").read_text())["jobs"]
    assert jobs == [{"run_key": "k", "overrides": ["+sweep=s", "task.data_dir=bench"]}]
