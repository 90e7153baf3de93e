"""The real W&B client against the fake server: what arrives, what a fault does, and sync."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_until
from wandb_server import KEY as API_KEY
from wandb_server import FakeWandb

from ffbench.runs.store import RunStore

RUN = "0123456789abcdef"
# far above our `timeout=3.0` on a loaded machine, below the 90 s that W&B itself waits for a server
HUNG = 60
PROGRAM = Path(__file__).resolve().parents[1] / "support" / "mirror_run.py"
SYNC = """
import sys
from ffbench.tracking.sync import sync
from ffbench.tracking.base import TrackerSettings
print("\\n".join(sync(sys.argv[1], sys.argv[2:] or None, TrackerSettings(timeout=3.0)).lines()))
"""


def mirror(
    output: Path, environment: dict[str, str], *words: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAM), str(output), RUN, *words],
        env=environment,
        timeout=90,
        capture_output=True,
        text=True,
        check=False,
    )


def sync(output: Path, environment: dict[str, str], *keys: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SYNC, str(output), *keys],
        env=environment,
        timeout=90,
        capture_output=True,
        text=True,
        check=False,
    )


def check_arrived(server: FakeWandb) -> None:
    run = server.runs[RUN]
    assert (run.state, run.exit_code) == ("finished", 0)
    assert run.config["cfg"]["value"] == {"model": {"name": "tiny"}, "sparsity": None}
    assert run.summary["fidelity/mean/kl"] == 0.25 and run.summary["provenance/git_sha"] == "abc"
    assert f"plan-{RUN}" in server.artifacts
    assert any(path.startswith("media/table/tasks") for path in run.files)
    assert any(path.startswith("media/table/answers") for path in run.files)


def test_an_online_run_arrives_whole_and_sync_leaves_it(
    wandb_server: FakeWandb, tmp_path: Path, wandb_environment: dict[str, str]
) -> None:
    done = mirror(tmp_path, wandb_environment)
    assert done.returncode == 0 and API_KEY not in done.stdout + done.stderr, done.stderr
    check_arrived(wandb_server)
    before = (len(wandb_server.runs[RUN].history), wandb_server.runs[RUN].upserts)
    assert "0 sent, 1 already there" in sync(tmp_path, wandb_environment).stdout
    assert (len(wandb_server.runs[RUN].history), wandb_server.runs[RUN].upserts) == before


def test_sync_sends_an_offline_run_once(
    wandb_server: FakeWandb, tmp_path: Path, wandb_environment: dict[str, str]
) -> None:
    assert mirror(tmp_path, wandb_environment | {"WANDB_MODE": "offline"}).returncode == 0
    assert wandb_server.runs == {}
    RunStore(tmp_path).folder("f" * 16).start({}, {})
    first = sync(tmp_path, wandb_environment)
    assert "1 sent, 0 already there, 1 skipped" in first.stdout, first.stderr
    assert f"{'f' * 16}  skipped: failed (interrupted" in first.stdout
    check_arrived(wandb_server)
    upserts = wandb_server.runs[RUN].upserts
    assert "0 sent, 1 already there" in sync(tmp_path, wandb_environment, RUN).stdout
    assert wandb_server.runs[RUN].upserts == upserts and set(wandb_server.runs) == {RUN}


def test_sync_sends_again_what_changed(
    wandb_server: FakeWandb, tmp_path: Path, wandb_environment: dict[str, str]
) -> None:
    mirror(tmp_path, wandb_environment)
    path = tmp_path / "runs" / RUN / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sparsity": 0.75}))
    assert "1 sent, 0 already there" in sync(tmp_path, wandb_environment).stdout
    assert wandb_server.runs[RUN].summary["sparsity"] == 0.75


def test_a_failed_run_arrives_as_failed(
    wandb_server: FakeWandb, tmp_path: Path, wandb_environment: dict[str, str]
) -> None:
    assert mirror(tmp_path, wandb_environment, "fail=1").returncode == 1
    assert (wandb_server.runs[RUN].state, wandb_server.runs[RUN].exit_code) == ("failed", 1)


@pytest.mark.parametrize("fault", ["stalls at the start", "goes away during the run"])
def test_a_server_fault_is_one_warning_and_holds_no_run_up(
    fault: str, wandb_server: FakeWandb, tmp_path: Path, wandb_environment: dict[str, str]
) -> None:
    words = []
    if fault.startswith("stalls"):
        wandb_server.answering.clear()
    else:
        words = [f"wait={tmp_path / 'gone'}"]
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), str(tmp_path), RUN, *words],
        env=wandb_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        if words:
            wait_until(lambda: (tmp_path / "ready").exists() or process.poll() is not None)
            wandb_server.stop()
            (tmp_path / "gone").touch()
        # the server is silent all the time: a run that waited for it would never end
        _, errors = process.communicate(timeout=HUNG)
    assert process.returncode == 0, errors
    assert errors.count("W&B:") == 1 and "ffbench sync" in errors, errors
    assert RunStore(tmp_path).folder(RUN).state().state == "done"
    if fault.startswith("stalls"):
        wandb_server.answering.set()
        assert "1 sent" in sync(tmp_path, wandb_environment).stdout
        check_arrived(wandb_server)


def test_sync_without_a_server_or_key_says_so(
    wandb_server: FakeWandb, tmp_path: Path, wandb_environment: dict[str, str]
) -> None:
    wandb_server.stop()
    assert "does not answer" in sync(tmp_path, wandb_environment).stderr
    del wandb_environment["WANDB_API_KEY"]
    assert "needs an API key" in sync(tmp_path, wandb_environment).stderr
