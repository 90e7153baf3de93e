"""Each sweep over parts of the method runs by one command, makes its table and picture, and shares
its stages."""

import json
from pathlib import Path

import pytest

from ffbench.cli.compose import jobs_of
from ffbench.cli.main import main
from ffbench.methods.chosen import selector_defaults
from ffbench.methods.compensators import COMPENSATORS
from ffbench.methods.schedulers import SCHEDULERS

TINY = [
    "model=tiny_llama",
    "tracker=none",
    "task=none",
    "calibration.tokens=1024",
    "calibration.window=512",
    "fidelity.windows=1",
    "fidelity.contexts=[384]",
    "fidelity.tail=63",
    "fidelity.tails=[continuation]",
    "speed.rounds=0",
    "kernel=torch",
    "sparsity=0.5",
]
LONGER = ["calibration.tokens=2048", "calibration.window=1024", "fidelity.contexts=[800]"]
RANK = ["compensator.rank=8"]
OVERRIDES = {
    "selectors": ["compensator=bias"],
    "block_size": [*LONGER, *RANK],
    "pareto": RANK,
    "schedulers": RANK,
    "output_map": ["compensator.rank=8", "compensator.output_map_rank=0,4"],
    "token_mixing": RANK,
}
FITS = {
    "selectors": 1,
    "token_rules": 1,
    "schedulers": 1,
    "block_size": 1,
    "pareto": 1,
    "output_map": 1,
    "token_mixing": 1,
}


@pytest.mark.parametrize("name", FITS)
def test_a_sweep_ends_with_its_table(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command = [f"+sweep={name}", *TINY, *OVERRIDES.get(name, []), f"output_dir={tmp_path}"]
    jobs = jobs_of(command)
    assert len(jobs) >= 2 and main(command) == 0
    table = capsys.readouterr().out
    results = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/result.json")]
    assert len(results) == len(jobs)
    assert all(table.count(result["run_key"]) == 1 for result in results)
    assert all(result["fidelity"]["prompt"]["kl"] > 0 for result in results)
    assert len(list(tmp_path.glob("stages/fit/*"))) == FITS[name]
    assert len(list(tmp_path.glob("stages/dense_tails/*"))) == 1
    assert main(command) == 0 and capsys.readouterr().out == table


def test_the_sweeps_name_everything_that_there_is() -> None:
    def values(sweep: str, group: str) -> set[str]:
        jobs = jobs_of([f"+sweep={sweep}"])
        return {getattr(job.settings, group)["name"] for job in jobs}

    selectors = values("selectors", "selector") | values("token_rules", "selector")
    assert selectors == set(selector_defaults())
    assert values("compensators", "compensator") == set(COMPENSATORS)
    assert values("schedulers", "scheduler") == set(SCHEDULERS)
    assert len({job.settings.block_size for job in jobs_of(["+sweep=block_size"])}) == 5
    assert {
        (job.settings.blocks, job.settings.block_size) for job in jobs_of(["+sweep=blocks"])
    } == {(blocks, size) for blocks in ("consecutive", "similar") for size in (64, 128, 256)}


def test_parameters_are_swept_as_numbers() -> None:
    jobs = jobs_of(["scheduler=token_mixing", "scheduler.floor=0,0.5"])
    assert [job.settings.scheduler["floor"] for job in jobs] == [0, 0.5]
