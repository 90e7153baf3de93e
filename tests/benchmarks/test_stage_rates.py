"""Rates of a finished sweep's stages."""

import json
from pathlib import Path

import pytest
import stage_rates

from ffbench.cli.compose import jobs_of
from ffbench.experiment.estimates import stage_flops
from ffbench.experiment.stages import RunStages, run_key
from ffbench.models.loading import ModelSpec
from ffbench.models.sizes import model_sizes
from ffbench.runs.files import StoreError

WORDS = ["model=tiny_llama", "task=none", "speed.rounds=0", "tracker=none", "sparsity=0.5,0.7"]


def test_shared_stages_count_once(tmp_path: Path) -> None:
    jobs = jobs_of([*WORDS, f"output_dir={tmp_path}"])
    for number, job in enumerate(jobs):
        folder = tmp_path / "runs" / run_key(job.settings)
        folder.mkdir(parents=True)
        cost = {"fit": 8.0, "fidelity": 1.0 + number, "load": None}
        (folder / "result.json").write_text(json.dumps({"cost": cost}))
    shared = {stage.key for stage in RunStages(jobs[0].settings).run.all()}
    assert RunStages(jobs[1].settings).fit.key in shared
    totals = stage_rates.stage_totals(jobs)
    assert {name: total["seconds"] for name, total in totals.items()} == {
        "fit": 8.0,
        "fidelity": 3.0,
    }
    sizes = model_sizes(ModelSpec("tiny", "tiny", "llama"))
    assert sizes is not None
    assert totals["fit"]["flops"] == stage_flops(jobs[0].settings, sizes)["fit"] > 0
    out = tmp_path / "lines.jsonl"
    assert stage_rates.main([*WORDS, f"output_dir={tmp_path}", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["peak_flops"] > 1e9


def test_a_missing_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="run the sweep first"):
        stage_rates.stage_totals(jobs_of([*WORDS, f"output_dir={tmp_path}"]))
