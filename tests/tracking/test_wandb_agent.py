"""The real `wandb sweep` and `wandb agent` drive `python -m ffbench` against the fake server."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from launching import REPOSITORY, TINY, runs
from wandb_runs import ENTITY, FakeRun
from wandb_server import FakeWandb

from ffbench.runs.run_folder import INTERRUPTED
from ffbench.tracking.mirror import result_objective

SWEEPS = REPOSITORY / "sweeps"
WORDS = [word for word in TINY if word != "tracker=none"]
QUICK_AGENT = """
import sys
from wandb import wandb_agent
from wandb.cli.cli import cli
wandb_agent.Agent.POLL_INTERVAL = 0.2  # 5 s by default; nothing else is changed
sys.argv = ["wandb", *sys.argv[1:]]
cli()
"""


def wandb(
    environment: dict[str, str], folder: Path, *words: str
) -> subprocess.CompletedProcess[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", QUICK_AGENT, *words],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate(timeout=250)
    except BaseException:
        # the second interrupt makes the agent end its trial, which would slow every later test
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(1)
        process.wait(60)
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def registered(
    server: FakeWandb, environment: dict[str, str], folder: Path, name: str, **changes: Any
) -> dict[str, Any]:
    """Register a shipped sweep file, made small: the tiny model, and further top-level entries."""
    raw = yaml.safe_load((SWEEPS / name).read_text())
    command = raw["command"]
    command[command.index("${args_no_hyphens}") : command.index("${args_no_hyphens}")] = [
        *WORDS,
        f"output_dir={folder / 'out'}",
        *changes.pop("words", []),
    ]
    raw |= changes
    path = folder / name
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    made = wandb(environment, folder, "sweep", str(path))
    assert made.returncode == 0 and "sweep0" in server.sweeps, made.stderr
    return raw


def worked_off(
    server: FakeWandb, environment: dict[str, str], folder: Path
) -> list[FakeRun | None]:
    """Let one agent work off the sweep; its runs in the order of the trials, None for a trial that
    never began."""
    path = os.pathsep.join(str(REPOSITORY / part) for part in ("", "kernels", "analysis"))
    done = wandb(
        environment | {"WANDB_SILENT": "false", "PYTHONPATH": path},
        folder,
        "agent",
        f"{ENTITY}/ffbench/sweep0",
    )
    assert done.returncode == 0, done.stderr
    assert server.sweeps["sweep0"].pending == []
    return [server.runs.get(name) for name in server.sweeps["sweep0"].handed]


def test_a_grid_keeps_nested_configs_and_shows_failures_as_states(
    wandb_server: FakeWandb, wandb_environment: dict[str, str], tmp_path: Path
) -> None:
    registered(
        wandb_server,
        wandb_environment,
        tmp_path,
        "sparsity.yaml",
        parameters={"sparsity": {"values": [0, 0.5]}, "selector": {"values": ["static"]}},
    )
    (tmp_path / "out" / "stages").mkdir(parents=True)
    (tmp_path / "out" / "stages" / "fit").write_text(
        "a file where a folder should be: the sparse run fails"
    )
    dense, sparse = worked_off(wandb_server, wandb_environment, tmp_path)
    assert (dense.state, sparse.state, sparse.exit_code) == ("finished", "failed", 1)
    for run, sparsity in ((dense, 0), (sparse, 0.5)):
        assert run.sweep == "sweep0" and run.config["sparsity"]["value"] == sparsity
        assert run.config["selector"]["value"] == "static", "the sweep's own flat key"
        nested = run.config["cfg"]["value"]
        assert (
            nested["selector"] == {"name": "static", "statistic": "residual"}
            and nested["sparsity"] == sparsity
        )
    states = {run.config()["sparsity"]: run.state() for run in runs(tmp_path / "out")}
    assert states[0].state == "done" and "cannot create folder" in states[0.5].reason


def test_a_random_search_is_worked_off(
    wandb_server: FakeWandb, wandb_environment: dict[str, str], tmp_path: Path
) -> None:
    registered(
        wandb_server,
        wandb_environment,
        tmp_path,
        "plan_search.yaml",
        run_cap=2,
        parameters={
            "sparsity": {"distribution": "uniform", "min": 0.2, "max": 0.7},
            "scheduler": {"values": ["uniform", "token_mixing"]},
        },
    )
    found = worked_off(wandb_server, wandb_environment, tmp_path)
    assert [run.state for run in found] == ["finished", "finished"]
    results = {run.result()["sparsity"]: run.result() for run in runs(tmp_path / "out")}
    for run in found:
        result = results[run.config["sparsity"]["value"]]
        assert run.summary["objective"] == pytest.approx(result_objective(result))
        assert run.config["cfg"]["value"]["scheduler"]["name"] == run.config["scheduler"]["value"]
        for start in (
            "media/images/tasks",
            "media/images/layers",
            "media/table/tasks",
            "media/table/answers",
        ):
            assert any(name.startswith(start) for name in run.files), start
        assert f"plan-{result['run_key']}" in wandb_server.artifacts
        assert run.summary["provenance/git_sha"] and run.summary["provenance/command"]


def test_a_trial_that_falls_behind_is_ended_early_and_can_be_resumed(
    wandb_server: FakeWandb, wandb_environment: dict[str, str], tmp_path: Path
) -> None:
    raw = registered(
        wandb_server,
        wandb_environment,
        tmp_path,
        "pareto.yaml",
        words=[
            "fidelity.windows=60",
            # the client sends reports every 15 s whatever its settings say: enough work for that
            f"fidelity.contexts={list(range(512, 3553, 160))}".replace(" ", ""),
            "task=none",
        ],
        parameters={"sparsity": {"min": 0.2, "max": 0.8}},
    )
    sweep = wandb_server.sweeps["sweep0"]
    # an earlier trial that no real one can beat
    good = FakeRun("sweep0trial0", state="finished", sweep="sweep0")
    good.history = [{"objective": 0.0} for _ in range(10)]
    wandb_server.runs[good.name] = good
    sweep.handed, sweep.pending = [good.name], [{"sparsity": 0.2}]
    _, bad = worked_off(wandb_server, wandb_environment, tmp_path)
    assert sweep.stopped == {bad.name}
    reports = [row["objective"] for row in bad.history if "objective" in row]
    assert bad.state == "failed" and raw["early_terminate"]["min_iter"] <= len(reports) < 3000
    ended = next(run for run in runs(tmp_path / "out") if run.config()["sparsity"] == 0.2)
    assert (ended.state().state, ended.state().reason) == ("failed", INTERRUPTED)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["+sweep=sparsity"], "+sweep: a W&B agent's trial runs one job"),
        (["block_size=32,64"], "these overrides make 2"),
    ],
)
def test_several_jobs_in_a_trial_are_refused(
    words: list[str],
    text: str,
    wandb_server: FakeWandb,
    tmp_path: Path,
    wandb_environment: dict[str, str],
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ffbench", *WORDS, *words, f"output_dir={tmp_path}"],
        text=True,
        env=wandb_environment | {"WANDB_SWEEP_ID": "sweep0", "WANDB_RUN_ID": "x"},
        cwd=REPOSITORY,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2 and text in done.stderr and wandb_server.runs == {}


@pytest.mark.parametrize("name", sorted(path.name for path in SWEEPS.glob("*.yaml")))
def test_shipped_sweeps_are_taken_by_the_client(
    name: str, wandb_server: FakeWandb, tmp_path: Path, wandb_environment: dict[str, str]
) -> None:
    made = wandb(wandb_environment, tmp_path, "sweep", str(SWEEPS / name))
    assert made.returncode == 0, made.stderr
    sent = yaml.safe_load(wandb_server.sweeps["sweep0"].config)
    assert set(sent["parameters"]) == set(yaml.safe_load((SWEEPS / name).read_text())["parameters"])
