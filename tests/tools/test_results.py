"""README's generated part from committed results."""

import json
import shutil
from pathlib import Path

import pytest

from ffanalysis import load
from tools.docs import committed, readme

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(recorded: Path, tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    readme.take(recorded, tmp_path / readme.RESULTS / "default")
    (tmp_path / "README.md").write_text(f"before\n{readme.START}\nold\n{readme.END}\nafter\n")
    return tmp_path


def test_the_part_between_the_marks_is_rewritten(checkout: Path, recorded: Path) -> None:
    for name in ("kernels", "speed", "selectors"):
        shutil.copy(recorded / f"{name}.jsonl", checkout / readme.RESULTS / f"{name}.jsonl")
    readme.rewrite(checkout)
    text = (checkout / "README.md").read_text()
    assert (
        text.startswith(f"before\n{readme.START}\n")
        and text.endswith(f"{readme.END}\nafter\n")
        and "old" not in text
    )
    for part in (
        "TTFT speedup",
        "n = 48",
        "2 threads",
        "git 0000000000",
        "test recording",
        "docs/pareto.svg",
        "### Kernels",
        "groups of 32",
        "### Time to first token",
        "Selectors and compensators",
        "a bound, no speedup",
    ):
        assert part in text
    assert (checkout / "docs" / "pareto.svg").exists() and not (
        checkout / "docs" / "pareto.png"
    ).exists()
    readme.rewrite(checkout)
    assert (checkout / "README.md").read_text() == text


def test_longbench_runs_get_their_own_table(checkout: Path, recorded: Path) -> None:
    readme.take(recorded, checkout / readme.RESULTS / "longbench")
    text = readme.section(checkout)
    assert "### LongBench" in text and "docs/longbench.md" in text and "dense score" in text


def test_no_path_of_the_machine_is_taken(tmp_path: Path) -> None:
    sweep = {
        "name": "s",
        "jobs": [
            {
                "run_key": "k",
                "overrides": [
                    "+sweep=s",
                    f"output_dir={tmp_path}",
                    f"task.data_dir={tmp_path}/bench",
                ],
            }
        ],
    }
    (tmp_path / "s.json").write_text(json.dumps(sweep))
    committed.copy_sweep(tmp_path / "s.json", tmp_path / "taken")
    assert json.loads((tmp_path / "taken" / "s.json").read_text())["jobs"] == [
        {"run_key": "k", "overrides": ["+sweep=s", "task.data_dir=bench"]}
    ]


def test_nothing_is_taken_from_an_empty_folder(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(load.LoadError, match="no done runs"):
        readme.take(tmp_path / "none", checkout / readme.RESULTS / "default")
    assert not load.runs(checkout / readme.RESULTS / "default").empty


def test_a_readme_without_marks_is_left_alone(checkout: Path) -> None:
    (checkout / "README.md").write_text("plain")
    with pytest.raises(load.LoadError, match="needs the lines"):
        readme.rewrite(checkout)
    assert (checkout / "README.md").read_text() == "plain"


def test_the_committed_readme_is_what_the_command_makes() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.split(readme.START)[1].split(readme.END)[0] == "\n" + readme.section(ROOT)
