"""Run folders from a W&B project: what the tracker sends comes back as the frames of the run it was
sent from.

The API is a double: it serves what `ffbench.tracking.mirror` sent, flattened as the tracker does,
tables as files. It does not show that the real service accepts or returns it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ffanalysis import load, wandb_source
from ffbench.runs.store import RunStore
from ffbench.tracking.mirror import mirror

# sweep lists stay on the disk, and a summary holds numbers only
NOT_SENT = ("command", "calibration_text", "instruction_set", "backend")


class Sent:
    """A tracker that keeps what it gets as W&B shows it."""

    def __init__(self) -> None:
        self.numbers: dict[str, Any] = {}
        self.tables: dict[str, list[dict[str, Any]]] = {}

    def summary(self, numbers: dict[str, Any]) -> None:
        from ffbench.tracking.wandb import flat

        self.numbers |= flat(numbers)

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        self.tables[name] = rows

    def image(self, name: str, path: Path) -> None:
        """Not asked for here."""

    def artifact(self, folder: Path) -> None:
        """Not asked for here."""


class FakeFile:
    def __init__(self, rows: list[dict[str, Any]]) -> None:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        self.content = {
            "columns": columns,
            "data": [[row.get(name) for name in columns] for row in rows],
        }

    def download(self, root: str, replace: bool) -> Any:
        path = Path(root) / "table.json"
        path.write_text(json.dumps(self.content))
        return path.open()


class FakeRun:
    """One run of the public API."""

    def __init__(self, output_dir: Path, key: str) -> None:
        sent = Sent()
        mirror(sent, RunStore(output_dir).folder(key))  # type: ignore[arg-type]
        self.name, self._tables = key, sent.tables
        self.config = {
            "cfg": json.loads((output_dir / "runs" / key / "config.json").read_text()),
            "sparsity": "flat key of a sweep",
        }
        self.summary = sent.numbers | {
            name: {"_type": "table-file", "path": f"media/table/{name}.table.json"}
            for name in sent.tables
        }
        self.summary |= {"_runtime": 12.0, "_timestamp": 1.0}

    def file(self, path: str) -> FakeFile:
        return FakeFile(self._tables[Path(path).name.split(".")[0]])


@pytest.fixture
def runs(recorded: Path) -> list[FakeRun]:
    return [FakeRun(recorded, f"{number:016x}") for number in (1, 6, 7, 19, 30)]


@pytest.mark.parametrize("read", [load.runs, load.tasks, load.groups, load.layers, load.timings])
def test_frames_are_those_of_the_original_run_folders(
    read: Any, runs: list[FakeRun], recorded: Path, tmp_path: Path
) -> None:
    keys = [key for _, key in wandb_source.fetch(runs, tmp_path)]
    before, after = read(recorded, keys), read(tmp_path, keys)
    common = [name for name in before.columns if name not in NOT_SENT]
    pd.testing.assert_frame_equal(before[common], after[common], check_dtype=False)


def test_answers_and_commands_come_back(
    runs: list[FakeRun], recorded: Path, tmp_path: Path
) -> None:
    list(wandb_source.fetch(runs, tmp_path))
    key = f"{6:016x}"
    pd.testing.assert_frame_equal(
        load.answers(recorded, [key]), load.answers(tmp_path, [key]), check_like=True
    )
    assert load.runs(tmp_path, [key])["command"].item() == "python -m ffbench +sweep=sparsity"


def test_runs_of_others_are_left_out_and_those_there_are_not_fetched_again(
    runs: list[FakeRun], tmp_path: Path
) -> None:
    other = FakeRun.__new__(FakeRun)
    other.name, other.config, other.summary = "someone's", {"lr": 1}, {}
    assert dict(wandb_source.fetch([other, runs[1]], tmp_path)) == {
        "someone's": None,
        runs[1].name: runs[1].name,
    }
    runs[1].file = None  # type: ignore[method-assign,assignment]
    assert list(wandb_source.fetch([runs[1]], tmp_path)) == [(runs[1].name, runs[1].name)]


def test_pictures_are_drawn_from_what_came_back(
    runs: list[FakeRun], recorded: Path, tmp_path: Path
) -> None:
    from ffanalysis.gallery import draw
    from ffanalysis.source import Source

    list(wandb_source.fetch(runs, tmp_path / "from_wandb"))
    shutil.copy(recorded / "kernels.jsonl", tmp_path)
    assert draw("pareto", Source(tmp_path / "from_wandb", tmp_path), tmp_path).exists()


def test_without_a_key_it_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb = pytest.importorskip("wandb")

    def refuse() -> None:
        raise wandb.errors.UsageError("No API key configured")

    monkeypatch.setattr(wandb, "Api", refuse)
    monkeypatch.setattr("sys.argv", ["wandb_source", "me/mine", "--to", str(tmp_path)])
    assert wandb_source.main() == 2 and "WANDB_API_KEY" in capsys.readouterr().err
