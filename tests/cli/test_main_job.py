"""The main job on a tiny model, and refusals."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_files import write_folder
from tiny_settings import TINY as TINY_RUN

from ffbench.cli.compose import jobs_of
from ffbench.cli.main import main
from ffbench.evaluation.speed import PrefillTimes
from ffbench.experiment import measured_speed
from ffbench.methods.plan import PlanSettings, SparsePlan
from ffbench.models.shapes import SHAPES

TINY = [*TINY_RUN, "task.limit=2", "task.max_length=1024", "speed.rounds=1"]


def test_sweep_runs_then_finds_everything_done(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command = ["+sweep=sparsity", *TINY, f"output_dir={tmp_path}"]
    assert main(command) == 0
    first = capsys.readouterr().out
    results = sorted(tmp_path.glob("runs/*/result.json"))
    assert sorted(json.loads(path.read_text())["sparsity"] for path in results) == [0.0, 0.5, 0.7]
    stamps = [path.stat().st_mtime_ns for path in results]
    assert main(command) == 0
    assert capsys.readouterr().out == first
    assert [path.stat().st_mtime_ns for path in results] == stamps


def test_a_mixture_of_experts_runs_from_end_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = f"output_dir={tmp_path}"
    assert main(["+experiment=experts", "tracker=none", folder]) == 0
    assert "tiny_olmoe at 50% sparsity" in capsys.readouterr().out
    results = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/result.json")]
    dense, sparse = sorted(results, key=lambda result: result["sparsity"])
    assert dense["selector"] == "dense" and sparse["selector"] == "trained"
    # contexts of 256 tokens, of which 32 at each end are dense
    assert sparse["density_used"] == pytest.approx(1 - 0.5 * 192 / 256)
    kl = sparse["fidelity"]["tails"]["continuation"]["kl"]
    assert 0 < kl < 0.01 and sparse["speed"] is None and sparse["recall_at_k"] is None
    (plan,) = tmp_path.glob("runs/*/plan")
    assert SparsePlan.load(plan).places[9].text() == "layer 1, expert 1"


def test_a_model_of_the_hub_is_loaded_and_named_by_its_commit(tmp_path: Path) -> None:
    folder, commit = tmp_path / "hub" / "models--org--name", "c" * 40
    write_folder(folder / "snapshots" / commit)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    words = ["model=llama32_1b", "model.name=mine", "model.location=org/name", *TINY[1:]]
    words = [word for word in words if not word.startswith("compensator")]
    subprocess.run(
        [sys.executable, "-m", "ffbench", *words, "sparsity=0", f"output_dir={tmp_path / 'out'}"],
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "HF_HUB_CACHE": str(tmp_path / "hub"),
            "HF_HUB_OFFLINE": "1",
        },
        check=True,
    )
    (run,) = (tmp_path / "out" / "runs").iterdir()
    assert json.loads((run / "provenance.json").read_text())["model_revision"] == commit
    assert json.loads((run / "config.json").read_text())["model"]["revision"] == "main"


def test_wide_shape_is_set_by_the_main_job_and_compared_at_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shape,) = {job.settings.speed.wide_shape for job in jobs_of(["+sweep=sparsity"])}
    assert shape in SHAPES and jobs_of([])[0].settings.speed.wide_shape is None
    measured = []

    def made_up(name: str, plan: PlanSettings, **options: Any) -> list[PrefillTimes]:
        measured.append((name, plan.sparsity, options["layers"], options["lengths"]))
        seconds = {"dense": [3.0, 3.0], "own_dense": [3.0, 3.0], "sparse": [2.0, 2.0]}
        ffn = {"dense": [2.4, 2.4], "own_dense": [2.4, 2.4], "sparse": [1.4, 1.4]}
        return [PrefillTimes(256, seconds, ffn)]

    monkeypatch.setattr(measured_speed, "measured_at_shape", made_up)
    few = ["task=none", "fidelity.windows=0"]
    wide = [*TINY, *few, f"speed.wide_shape={shape}", f"output_dir={tmp_path}"]
    assert main(["sparsity=0,0.5", *wide]) == 0
    assert measured == [(shape, 0.5, 4, [256])]
    printed = capsys.readouterr().out
    assert f"shape of {shape} with random weights" in printed and "1.50" in printed
    results = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/result.json")]
    (speed,) = [result["speed"] for result in results if result["sparsity"]]
    assert speed["wide"]["shape"] == shape and speed["wide"]["ttft"][0]["ratio"] == 1.5
    assert main(["sparsity=0,0.5", "seed=0", *wide, "fidelity.prompt_windows=1"]) == 0
    assert len(measured) == 1, "runs of the same plan settings share the times"


def test_every_problem_is_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert (
        main(
            [
                *TINY,
                "sparsity=1.7",
                "block_size=0",
                "scheduler.floor=-1",
                "scheduler=token_mixing",
                f"output_dir={tmp_path}",
            ]
        )
        == 2
    )
    text = capsys.readouterr().err
    assert "sparsity: 1.7" in text and "block_size: 0" in text and "scheduler.floor: -1" in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("override", ["sparsty=0.5", "model=nothing", "sparsity=abc"])
def test_bad_overrides_end_with_code_2(override: str, capsys: pytest.CaptureFixture) -> None:
    assert main([override]) == 2
    assert "Traceback" not in capsys.readouterr().err
