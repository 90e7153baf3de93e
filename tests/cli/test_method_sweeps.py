"""Each sweep over parts of the method runs by one command, makes its table and picture, and shares
its stages."""

import json
from pathlib import Path

import pytest

from ffbench.cli.compose import jobs_of
from ffbench.cli.main import main
from ffbench.methods.schedulers import SCHEDULERS
from ffbench.methods.selectors import SELECTORS
from ffbench.training.layer_fit import COMPENSATORS

TINY = [
    "model=tiny_llama",
    "tracker=none",
    "task=none",
    "calibration.tokens=1024",
    "calibration.window=512",
    "fidelity.windows=1",
    "fidelity.window=512",
    "speed.rounds=0",
    "compensator.rank=8",
    "kernel=torch",
    "sparsity=0.5",
]
LONGER = ["calibration.tokens=2048", "calibration.window=1024", "fidelity.window=2048"]
WORDS = {
    "block_size": LONGER,
    "compensators": ["scheduler=uniform"],
}  # lowrank is fitted for the numbers that are kept
FITS = {
    "selectors": 1,
    "token_rules": 1,
    "compensators": 5,
    "schedulers": 1,
    "block_size": 1,
    "pareto": 1,
}


@pytest.mark.parametrize("name", FITS)
def test_a_sweep_ends_with_its_table(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ffbench.training.tuning.teacher.WINDOWS", 4)
    command = [f"+sweep={name}", *TINY, *WORDS.get(name, []), f"output_dir={tmp_path}"]
    jobs = jobs_of(command)
    assert len(jobs) >= 3 and main(command) == 0
    table = capsys.readouterr().out
    results = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/result.json")]
    assert len(results) == len(jobs) == table.count("\n| 0.5")
    assert all(result["fidelity"]["mean"]["kl"] > 0 for result in results)
    assert len(list(tmp_path.glob("stages/fit/*"))) == FITS[name]
    assert len(list(tmp_path.glob("stages/hidden/*"))) == 1
    assert main(command) == 0 and capsys.readouterr().out == table


def test_the_sweeps_name_everything_that_there_is() -> None:
    def values(sweep: str, part: str) -> set[str]:
        return {getattr(job.settings, part).name for job in jobs_of([f"+sweep={sweep}"])}

    assert values("selectors", "selector") | values("token_rules", "selector") == set(SELECTORS)
    assert values("compensators", "compensator") == set(COMPENSATORS)
    assert values("schedulers", "scheduler") | {"adaptive_energy"} == set(SCHEDULERS)
    assert len({job.settings.block_size for job in jobs_of(["+sweep=block_size"])}) == 5
    assert {
        (job.settings.blocks, job.settings.block_size) for job in jobs_of(["+sweep=blocks"])
    } == {(blocks, size) for blocks in ("consecutive", "similar") for size in (64, 128, 256)}
