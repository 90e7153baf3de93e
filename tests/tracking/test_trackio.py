"""trackio as a tracker: what its local database holds, and what happens without it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ffbench.runs.run_folder import RunFolder
from ffbench.runs.store import RunStore
from ffbench.tracking import base as tracking
from ffbench.tracking.base import NullTracker, TrackerSettings
from ffbench.tracking.open import open_tracker
from ffbench.tracking.trackio import TrackioTracker

KEY = "0123456789abcdef"
SETTINGS = TrackerSettings(kind="trackio")
RESULT = {
    "run_key": KEY,
    "sparsity": 0.5,
    "fidelity": {"tails": {"copy": {"kl": 0.25, "kl_worst": None}}},
    "flops": {"ratio": 0.6},
    "tasks": {"lcc": {"n": 3, "metric": "f1"}},
}
PROGRAM = """
import sys
from pathlib import Path
from ffbench.runs.store import RunStore
from ffbench.tracking.base import TrackerSettings
from ffbench.tracking.mirror import mirror
from ffbench.tracking.open import open_tracker
run = RunStore(sys.argv[1]).folder(sys.argv[2])
for last in (False, True):  # the first start is interrupted
    tracker = open_tracker(TrackerSettings(kind="trackio"), run.run_key, run.config(), run.path)
    for number in range(3):
        tracker.log({"objective": number / 2, "windows": number})
    if last:
        mirror(tracker, run)
    tracker.finish("done" if last else "failed")
assert tracker.problem is None, tracker.problem
import json, trackio
from trackio.sqlite_storage import SQLiteStorage
(found,) = trackio.Api().runs("ffbench")
print(json.dumps({"config": found.config, "logs": SQLiteStorage.get_logs("ffbench", run.run_key)}))
"""


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_warned", set())
    monkeypatch.setenv("TRACKIO_DIR", "")  # so that what a test sets it to is taken back
    monkeypatch.delenv("TRACKIO_DIR")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunStore(tmp_path / "out").folder(KEY)
    folder.start({"model": "tiny"}, {"git_sha": "abc"})
    return folder


def test_the_local_database_holds_one_start_of_the_run(run: RunFolder) -> None:
    pytest.importorskip("trackio")
    (run.path / "plan").mkdir()
    (run.path / "plan" / "plan.json").write_text("{}")
    run.finish(RESULT)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(run.path.parent.parent), KEY],
        # an address that must not be used
        env=os.environ | {"TRACKIO_SERVER_URL": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()  # nothing of trackio's own
    held = json.loads(line)
    assert held["config"]["cfg"] == {"model": "tiny"}
    values = [row["objective"] for row in held["logs"] if "windows" in row]
    assert values == [0, 0.5, 1]  # once: the interrupted start was dropped
    merged = {name: value for row in held["logs"] for name, value in row.items()}
    assert merged["fidelity/tails/copy/kl"] == 0.25 and "fidelity/tails/copy/kl_worst" not in merged
    assert merged["provenance/git_sha"] == "abc" and merged["status"] == "done"
    assert "lcc" in json.dumps(merged["tasks"]) and merged["objective"] == 0.85
    folder = run.path.parent.parent / "trackio"
    assert list(folder.glob("*.db")) and list((folder / "artifacts").rglob("*"))


def test_without_trackio_one_line_names_the_extra(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    assert isinstance(open_tracker(SETTINGS, KEY, {}, run.path), NullTracker)
    assert "pip install 'ffbench[trackio]'" in capsys.readouterr().err


def test_an_error_is_told_once_and_stops_nothing(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        print("noise")
        raise OSError("disk full\nmore")

    stub = SimpleNamespace(log=fails)
    tracker = TrackioTracker(SimpleNamespace(finish=fails), stub, KEY)
    tracker.log({"a": 1})
    tracker.log({})
    tracker.finish("failed")
    assert tracker.problem == "disk full"
    written = capsys.readouterr()
    assert written.err.count("not everything was logged (disk full)") == 1 and not written.out
    api = SimpleNamespace(runs=lambda project: [])
    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace(init=fails, Api=lambda: api))
    assert isinstance(open_tracker(SETTINGS, KEY, {}, run.path), NullTracker)
    assert "cannot start (disk full)" in capsys.readouterr().err


def test_wandbs_environment_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    assert SETTINGS.problems() == [] and TrackerSettings().problems()
