"""Bad environment variables and folders: exit code 2, the name, no traceback, no model."""

import os
from pathlib import Path

import pytest
from refusals import refused

ENVIRONMENTS = [
    ({"WANDB_MODE": "sometimes"}, [], "WANDB_MODE is 'sometimes'"),
    ({"WANDB_BASE_URL": "nowhere", "WANDB_API_KEY": "k" * 40}, [], "WANDB_BASE_URL is 'nowhere'"),
    ({"WANDB_SWEEP_ID": "x"}, ["+sweep=sparsity"], "one job"),
    ({"WANDB_SWEEP_ID": "x"}, ["seed=1,2"], "these overrides make 2"),
    ({"PATH": ""}, ["launcher=slurm"], "launcher: slurm needs sbatch"),
    ({}, ["output_dir=/proc/ffbench"], "output_dir"),
    ({}, ["output_dir=/dev/null/x"], "output_dir"),
    ({}, ["model=folder", "model.name=x", "model.location=/dev/null"], "model"),
]


@pytest.mark.parametrize(
    ("variables", "words", "text"), ENVIRONMENTS, ids=[text for _, _, text in ENVIRONMENTS]
)
def test_bad_environments(
    variables: dict[str, str],
    words: list[str],
    text: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if words == ["launcher=slurm"]:
        pytest.importorskip("submitit")
    more = (
        []
        if any(word.startswith("output_dir") for word in words)
        else [f"output_dir={tmp_path / 'out'}"]
    )
    first = [] if any(word.startswith("model") for word in words) else ["model=tiny_llama"]
    refused([*first, "task=none", *words, *more], text, capsys, monkeypatch)


def test_sync_without_a_key(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    refused(["sync", "--output-dir", str(tmp_path)], "WANDB_API_KEY", capsys, monkeypatch)
