"""What is refused before any model work: one line and exit code 2."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_settings import EXPERTS, SMALL, TINY

from ffbench.cli import preflight
from ffbench.cli.compose import jobs_of
from ffbench.cli.estimate import past_runs
from ffbench.cli.main import main
from ffbench.experiment import session
from ffbench.models.errors import ModelError
from ffbench.models.loading import ModelSpec
from ffbench.models.tiny import tiny_config
from ffbench.runs.store import RunStore


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(spec: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(session, "loaded", refuse)


def refused(arguments: list[str], capsys: pytest.CaptureFixture) -> str:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.err.startswith("error: ")
    return str(captured.err)


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["compensator.rank=65"], "compensator.rank: 65 is not in 1..64 (the model's width)"),
        (["compensator=rsparse", "compensator.rank=99"], "compensator.rank: 99 is not in 1..64"),
        (["kernel=triton"], "kernel: 'triton' cannot run here: "),
        (["speed.rounds=1", "speed.lengths=[5000]"], "speed.lengths: 5000 tokens, but the model"),
        (["calibration.window=8192", "calibration.tokens=8192"], "calibration.window: 8192 tokens"),
        (["group_size=64"], "group_size: 64 does not divide the model's 160 neurons"),
    ],
)
def test_settings_that_do_not_fit_the_model(
    overrides: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert text in refused([*TINY, *overrides, f"output_dir={tmp_path}"], capsys)
    assert not list(tmp_path.iterdir())


def test_what_a_mixture_of_experts_cannot_have_is_named_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["selector=griffin", "speed.rounds=1", "objective.metric=answer", "hot_fraction=0.5"]
    words += ["compensator.output_map_rank=8"]
    assert main(["model=tiny_olmoe", *SMALL, *words, f"output_dir={tmp_path}"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert all(line.endswith("(model: olmoe is a mixture of experts)") for line in lines)
    assert [line.removeprefix("error: ").partition(":")[0] for line in lines] == [
        "selector",
        "compensator",
        "scheduler",
        "hot_fraction",
        "objective.metric",
        "speed.rounds",
    ]
    assert not list(tmp_path.iterdir())
    assert main(["speed", "model=tiny_olmoe", *EXPERTS, "speed.rounds=1"]) == 2
    assert "speed.rounds: the speed of experts is not measured yet" in capsys.readouterr().err
    folder = f"output_dir={tmp_path}"
    assert main(["model=tiny_olmoe", *SMALL, *EXPERTS, "sparsity=0.5", folder, "--dry-run"]) == 0


HUB = ["model=llama32_1b", "model.dtype=float32", "tracker=none", "sparsity=0,0.5", "--dry-run"]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A hub that does not tell commits."""
    monkeypatch.setattr("ffbench.experiment.identity.commit_of", lambda location, revision: None)
    preflight.hub_config.cache_clear()
    yield monkeypatch
    preflight.hub_config.cache_clear()


def test_a_hub_model_that_cannot_be_had_is_named_before_any_work(
    hub: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    asked = []

    def fails(spec: ModelSpec) -> Any:
        asked.append(spec.location)
        raise ModelError("model: its weights are gated")

    hub.setattr("ffbench.models.loading.fetched_config", fails)
    message = refused([*HUB, f"output_dir={tmp_path}"], capsys)
    assert message == "error: model: its weights are gated\n"
    assert len(asked) == 1


def test_a_hub_models_configuration_is_fetched_for_the_checks(
    hub: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config = tiny_config("llama")
    hub.setattr("ffbench.models.loading.fetched_config", lambda spec: config)
    words = [*HUB, f"output_dir={tmp_path}", "speed.lengths=[5000]"]
    assert "speed.lengths: 5000 tokens, but the model has 4096" in refused(words, capsys)


def test_a_full_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000))
    folder = tmp_path / "new" / "out"
    message = refused([*TINY, f"output_dir={folder}"], capsys)
    assert "output_dir: the plans need 0.0 GB" in message and "free space, choose" in message
    assert not folder.exists()
    assert main([*TINY, "sparsity=0", f"output_dir={folder}", "--dry-run"]) == 0


def test_a_dry_run_without_past_runs_estimates_by_flops(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main([*TINY, "sparsity=0.3,0.5", f"output_dir={tmp_path / 'out'}", "--dry-run"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("2 jobs to do, very roughly ") and "at most" not in line
    for stage in ("fit", "curvature", "dense_tails", "fidelity", "answers"):
        assert f"{stage} " in line
    assert "speed" not in line.partition(": ")[2].partition("(")[0]
    assert not (tmp_path / "out" / "runs").exists()


def finished_run(store: RunStore, busy: bool, scale: float, key: str) -> None:
    """A run of TINY whose stages took `scale` seconds each."""
    run = store.folder(key)
    run.start(asdict(jobs_of([*TINY, "task=none"])[0].settings), {})
    cost = dict.fromkeys(("fit", "curvature", "dense_tails", "fidelity"), scale)
    speed = {"busy": busy}
    run.finish({"model": "tiny_llama", "sparsity": 0.5, "cost": cost, "speed": speed})


def test_a_dry_run_learns_from_quiet_past_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    store = RunStore(tmp_path / "out")
    finished_run(store, True, 90_000.0, "a" * 16)
    command = [*TINY, "task=none", "sparsity=0.3,0.7", f"output_dir={tmp_path / 'out'}"]
    assert main([*command, "--dry-run"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert "very roughly" in line and "no past run on a quiet machine to learn from" in line
    finished_run(store, False, 60.0, "b" * 16)
    assert main([*command, "--dry-run"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    # what the jobs share counts once, their own stage twice
    assert line == (
        "2 jobs to do, about 5 min one after the other, loading not counted: fidelity 2 min, "
        "fit 60 s, curvature 60 s, dense_tails 60 s (medians of 1 past runs, else FLOPs and "
        "this machine's speed now)"
    )


def test_a_past_run_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    finished_run(store, False, 60.0, "a" * 16)
    assert len(past_runs(store, "tiny_llama")) == 1 and past_runs(store, "other") == []
    path = store.folder("a" * 16).path / "config.json"
    whole = json.loads(path.read_text())
    for damaged in (
        {"no": "settings"},
        whole | {"task": whole["task"] | {"tasks": ["gone"]}},
        whole | {"compensator": {"name": "gone"}},
    ):
        path.write_text(json.dumps(damaged))
        assert past_runs(store, "tiny_llama") == []
