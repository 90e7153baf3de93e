"""The real `wandb sweep` and `wandb agent` against the fake server."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from wandb_server import ENTITY, FakeWandb

PROGRAM = Path(__file__).resolve().parents[1] / "fakes" / "mirror_run.py"
REPOSITORY = Path(__file__).resolve().parents[2]


def wandb(environment: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "wandb", *words], env=environment, cwd=folder, timeout=150,
                          capture_output=True, text=True, check=False)


def run_sweep(server: FakeWandb, environment: dict[str, str], folder: Path, sweep: dict) -> str:
    """Register and work off a sweep with one agent; the agent's output."""
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(sweep, sort_keys=False))
    made = wandb(environment, folder, "sweep", str(path))
    assert made.returncode == 0 and len(server.sweeps) == 1, made.stderr
    done = wandb(environment | {"WANDB_SILENT": "false"}, folder, "agent", f"{ENTITY}/ffbench/sweep0")
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_trials_keep_their_nested_config_and_failures_are_read_from_states(
        wandb_server: FakeWandb, wandb_environment: dict[str, str], tmp_path: Path) -> None:
    command = ["${env}", "${interpreter}", str(PROGRAM), str(tmp_path), "0123456789abcdef", "${args_no_hyphens}"]
    run_sweep(wandb_server, wandb_environment, tmp_path, {
        "method": "grid", "project": "ffbench", "command": command,
        "parameters": {"sparsity": {"value": 0.5}, "model": {"value": "overwritten"}, "fail": {"values": [0, 1]}}})
    first, second = (wandb_server.runs[name] for name in wandb_server.sweeps["sweep0"].handed)
    assert (first.state, second.state) == ("finished", "failed")
    assert first.sweep == second.sweep == "sweep0"
    assert first.config["cfg"]["value"]["model"] == {"name": "tiny"}, "the sweep's flat key hit the nested config"
    assert first.config["model"]["value"] == "overwritten" and first.config["sparsity"]["value"] == 0.5
    assert first.summary["fidelity/mean/kl"] == 0.25
    assert wandb_server.sweeps["sweep0"].pending == []


@pytest.mark.parametrize("name", sorted(path.name for path in (REPOSITORY / "sweeps").glob("*.yaml")))
def test_shipped_sweeps_are_taken_by_the_client(name: str, wandb_server: FakeWandb, tmp_path: Path,
                                                wandb_environment: dict[str, str]) -> None:
    made = wandb(wandb_environment, tmp_path, "sweep", str(REPOSITORY / "sweeps" / name))
    assert made.returncode == 0, made.stderr
    sent = yaml.safe_load(wandb_server.sweeps["sweep0"].config)
    assert set(sent["parameters"]) == set(yaml.safe_load((REPOSITORY / "sweeps" / name).read_text())["parameters"])
