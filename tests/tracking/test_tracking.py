"""Trackers: choice of mode, one notice, no hang, and what an offline W&B run holds."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import wait_until

from ffbench.runs.files import StoreError
from ffbench.runs.run_folder import RunFolder
from ffbench.runs.store import RunStore
from ffbench.tracking import base as tracking
from ffbench.tracking.base import (
    NullTracker,
    TrackerSettings,
    bounded,
    chosen_mode,
    unreachable,
)
from ffbench.tracking.mirror import metrics, result_objective, tables
from ffbench.tracking.open import open_tracker
from ffbench.tracking.sync import sync

KEY = "0123456789abcdef"
CLOSED = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "WANDB_API_KEY",
        "WANDB_MODE",
        "WANDB_BASE_URL",
        "WANDB_RUN_ID",
        "WANDB_IDENTITY_TOKEN_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(tracking, "_warned", set())


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunStore(tmp_path / "out").folder(KEY)
    folder.start({"model": "tiny"}, {"git_sha": "abc"})
    return folder


def silent_port() -> tuple[socket.socket, str]:
    """A server that takes connections and never answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("settings", "environment", "mode"),
    [
        (TrackerSettings(kind="none"), {}, "disabled"),
        (TrackerSettings(), {}, "offline"),
        (TrackerSettings(mode="offline"), {"WANDB_API_KEY": "k"}, "offline"),
        (TrackerSettings(), {"WANDB_API_KEY": "k", "WANDB_MODE": "offline"}, "offline"),
        (TrackerSettings(), {"WANDB_MODE": "disabled"}, "disabled"),
        (TrackerSettings(mode="online"), {}, "offline"),
        (
            TrackerSettings(mode="online"),
            {"WANDB_MODE": "offline", "WANDB_API_KEY": "k", "WANDB_BASE_URL": CLOSED},
            "offline",
        ),
        (TrackerSettings(), {"WANDB_API_KEY": "k", "WANDB_BASE_URL": CLOSED}, "offline"),
    ],
)
def test_mode(
    settings: TrackerSettings, environment: dict, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert chosen_mode(settings) == mode


def test_a_netrc_key_counts_for_its_own_server_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    assert tracking.has_key()
    monkeypatch.setenv("WANDB_BASE_URL", CLOSED)
    assert not tracking.has_key()


def test_no_key_is_said_in_one_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    chosen_mode(TrackerSettings())
    chosen_mode(TrackerSettings())
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and "no API key" in text and "ffbench sync" in text


@pytest.mark.parametrize("kind", ["refused", "silent", "no name"])
def test_a_server_that_does_not_answer_gets_a_share_of_the_time(
    kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, address = silent_port()
    limits: list[float] = []

    def noted(call: Callable[[], object], timeout: float) -> bool:
        limits.append(timeout)
        return bounded(call, timeout)

    monkeypatch.setattr(tracking, "bounded", noted)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv(
        "WANDB_BASE_URL",
        {"refused": CLOSED, "silent": address, "no name": "http://x.invalid"}[kind],
    )
    assert chosen_mode(TrackerSettings(timeout=2.0)) == "offline"
    assert limits == [2.0 * tracking.PROBE_SHARE]
    listener.close()
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and "does not answer" in text and "k" * 40 not in text


def test_unreachable_accepts_any_http_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    listener, address = silent_port()

    def answer() -> None:
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        connection.close()

    threading.Thread(target=answer, daemon=True).start()
    assert unreachable(address, 60) is None
    listener.close()


def test_bounded() -> None:
    assert bounded(lambda: None, 60)
    released = threading.Event()
    assert not bounded(released.wait, 0.05)
    released.set()
    with pytest.raises(ZeroDivisionError):
        bounded(lambda: 1 / 0, 60)


def test_none_and_missing_wandb_give_the_null_tracker(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(open_tracker(TrackerSettings(kind="none"), KEY, {}, run.path), NullTracker)
    assert capsys.readouterr().err == ""
    monkeypatch.delitem(sys.modules, "ffbench.tracking.wandb", raising=False)
    monkeypatch.setitem(sys.modules, "wandb", None)
    tracker = open_tracker(TrackerSettings(mode="offline"), KEY, {}, run.path)
    assert isinstance(tracker, NullTracker) and "not installed" in capsys.readouterr().err
    with pytest.raises(StoreError, match="ffbench"):
        sync(run.path.parent.parent)


def test_settings_problems_are_all_named() -> None:
    settings = TrackerSettings(kind="tensorboard", mode="on", project="a/b", timeout=0)
    assert [text.split()[0] for text in settings.problems()] == [
        "tracker.kind",
        "tracker.mode",
        "tracker.project",
        "tracker.timeout",
    ]
    with pytest.raises(ValueError, match="choose one of wandb, trackio, none"):
        open_tracker(settings, KEY, {}, Path("x"))
    assert TrackerSettings().problems() == []


def test_figures_and_tables_of_a_result() -> None:
    result = {
        "run_key": KEY,
        "sparsity": 0.5,
        "recall_at_k": None,
        "mean": {"score": 1.5, "metric": "f1"},
        "tasks": {"lcc": {"n": 3}},
        "layers": [{"layer": 0}],
        "speed": {"ffn": {"ratio": 1.2}, "ttft": []},
    }
    assert metrics(result) == {
        "sparsity": 0.5,
        "mean": {"score": 1.5},
        "tasks": {"lcc": {"n": 3}},
        "speed": {"ffn": {"ratio": 1.2}},
    }
    assert tables(result, [{"task": "lcc"}]) == {
        "tasks": [{"task": "lcc", "n": 3}],
        "layers": [{"layer": 0}],
        "answers": [{"task": "lcc"}],
    }


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"fidelity": {"tails": {"copy": {"kl": 0.25}}}, "flops": {"ratio": 0.6}}, 0.85),
        ({"fidelity": None, "flops": None}, None),
        ({"fidelity": {"tails": {"copy": {"kl": None}}}, "flops": {"ratio": 0.6}}, None),
        ({}, None),
    ],
)
def test_objective(result: dict, expected: float | None) -> None:
    assert result_objective(result) == expected


PROGRAM = """
import os, sys
from pathlib import Path
from ffbench.tracking.base import TrackerSettings
from ffbench.tracking.open import open_tracker
folder = Path(sys.argv[1])
tracker = open_tracker(TrackerSettings(mode="offline"), folder.name, {"model": {"name": "tiny"}}, folder)
for i in range(3):
    tracker.log({"fidelity": {"kl": i / 2, "unmeasured": None}})
tracker.table("tasks", [{"task": "lcc", "score": 1}, {"task": "qasper", "note": "x"}])
if sys.argv[2] == "kill":
    sys.stdin.read()
    os._exit(9)
tracker.finish("done")
"""


def metrics_on_disk(mirrors: Path) -> int:
    """How often the metric's name is in the one transaction log of a folder of mirrors."""
    return sum(path.read_bytes().count(b"fidelity/kl") for path in mirrors.glob("*/*.wandb"))


@pytest.mark.parametrize("end", ["finish", "kill"])
def test_an_offline_run_holds_its_figures_even_when_killed(run: RunFolder, end: str) -> None:
    pytest.importorskip("wandb")
    mirrors = run.path.parent.parent / "wandb"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(run.path), end],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        if end == "kill":  # by closing its input, once W&B's own process has written the metrics
            wait_until(lambda: process.poll() is not None or metrics_on_disk(mirrors) >= 3)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == (9 if end == "kill" else 0), errors
    assert (run.path / "tracker.json").exists() is (end == "finish")
    (folder,) = mirrors.glob(f"offline-run-*-{KEY}")
    shown = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert all(f'"fidelity/kl":{value}' in shown.replace(" ", "") for value in ("0", "0.5", "1"))
    config = [json.loads(line) for line in shown.splitlines() if '"cfg"' in line]
    assert config, shown[:2000]


def test_wandbs_folders_of_earlier_starts_do_not_pile_up(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    from ffbench.tracking.wandb import drop_earlier

    names = (
        "offline-run-20260101_000000-0123456789abcdef",
        "run-20260102_000000-0123456789abcdef",
        "offline-run-20260101_000000-fedcba9876543210",
    )
    for name in names:
        (tmp_path / "wandb" / name / "files").mkdir(parents=True)
    drop_earlier(tmp_path, "0123456789abcdef")
    assert [path.name for path in (tmp_path / "wandb").iterdir()] == [names[2]]


@pytest.mark.parametrize(
    ("value", "mode"), [("true", "disabled"), ("1", "disabled"), ("false", "offline")]
)
def test_wandbs_old_variable_turns_it_off(
    value: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DISABLED", value)
    assert chosen_mode(TrackerSettings()) == mode
