"""`sweep FILE --local` with method bayes: a real search of the tiny model, killed and resumed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny_settings import TINY
from waiting import wait_until

from ffbench.cli.main import main

COMMAND = ["${env}", "${interpreter}", "-m", "ffbench", "task=none", "${args_no_hyphens}"]
PARAMETERS = {
    "sparsity": {"min": 0.3, "max": 0.7},
    "selector": {"values": ["static", "random"]},
}
HYPERBAND = {"type": "hyperband", "min_iter": 1, "eta": 2}


@pytest.fixture(autouse=True)
def _package() -> None:
    pytest.importorskip("optuna")


def written(folder: Path, **changes: object) -> Path:
    raw = {
        "method": "bayes",
        "metric": {"name": "objective", "goal": "minimize"},
        "command": COMMAND,
        "parameters": PARAMETERS,
    } | changes
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def words_of(path: Path, output: Path, *more: str) -> list[str]:
    return ["sweep", str(path), "--local", *TINY, f"output_dir={output}", *more]


def proposals(text: str) -> list[str]:
    """Overrides of the trials of a dry run or of a search."""
    rows = [line for line in text.splitlines() if " sparsity=" in line]
    return [row[row.index("sparsity=") :].partition(" ->")[0] for row in rows]


def test_a_killed_search_resumes_with_the_same_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = written(tmp_path), tmp_path / "out"
    words = words_of(path, output, "--count", "4", "--seed", "5")
    process = subprocess.Popen(
        [sys.executable, "-m", "ffbench", *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_until(lambda: len(list(output.glob("runs/*/result.json"))) >= 2)
    process.send_signal(signal.SIGKILL)
    begun = proposals(process.communicate(timeout=60)[0])
    kept = {file: file.stat().st_mtime_ns for file in output.glob("runs/*/result.json")}
    assert len(kept) >= 2
    assert main([*words, "--dry-run"]) == 0
    planned = proposals(capsys.readouterr().out)
    assert planned[: len(begun)] == begun and len(planned) >= len(kept)
    assert main(words) == 0
    text = capsys.readouterr()
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert f"4 trials: 4 measured, 0 ended early, 0 failed; {len(kept)} were there" in text.err
    assert "Pareto front: " in text.out and "| trial | sparsity | selector |" in text.out
    assert "best objective: " in text.out


def test_two_objectives_in_batches_on_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("loky")
    path, output = written(tmp_path, early_terminate=HYPERBAND), tmp_path / "out"
    words = words_of(path, output, "--objectives", "answer_kl,flops", "--sampler", "nsga2")
    words += ["--population", "2", "--count", "4", "--batch", "2", "launcher=joblib"]
    assert main(words) == 2
    assert capsys.readouterr().err.count("early_terminate: ") == 2
    assert main([*words, "--no-early-terminate"]) == 0
    text = capsys.readouterr()
    assert "4 trials: 4 measured" in text.err
    assert "answer KL (mean of tails)" in text.out and "FFN FLOPs / dense" in text.out


@pytest.mark.parametrize(
    ("changes", "words", "text"),
    [
        ({}, ["--batch", "0"], "--batch: 0 is too small"),
        ({}, ["--population", "1"], "--population: 1 is too small"),
        ({}, ["seed=0,1"], "one job; give one value per setting"),
        ({}, ["--objectives", "answer_kl,time"], "objective time: needs speed; speed.rounds is 0"),
        ({}, ["--objectives", "flops,flops"], "each one once"),
        ({}, ["fidelity.windows=0"], "needs fidelity; fidelity.windows is 0"),
        ({"parameters": {"sparsity": {"min": 0.5, "max": 1.5}}}, [], "sparsity: 1.5"),
        ({"parameters": {"selector": {"values": ["static", "none"]}}}, [], "'none' is unknown"),
        (
            {"method": "grid", "parameters": {"seed": {"value": 1}}},
            ["--batch", "2"],
            "only for method bayes",
        ),
    ],
)
def test_refused_before_any_work(
    changes: dict, words: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, **changes)
    assert main(words_of(path, tmp_path / "out", *words)) == 2
    errors = capsys.readouterr().err
    assert text in errors and "Traceback" not in errors
    assert not (tmp_path / "out").exists()


def test_without_optuna_the_extra_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ffbench.cli.search.find_spec", lambda name: None)
    assert main(words_of(written(tmp_path), tmp_path / "out")) == 2
    assert "pip install 'ffbench[search]'" in capsys.readouterr().err


def test_a_trial_that_fails_stops_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = written(tmp_path), tmp_path / "out"
    words = words_of(path, output, "--count", "2")
    assert main([*words, "--dry-run"]) == 0
    first = capsys.readouterr().out.split()[1]
    (output / "runs").mkdir(parents=True)
    (output / "runs" / first).write_text("a file where the run's folder should be")
    assert main(words) == 1
    text = capsys.readouterr().err
    assert "failed: trial 1 " in text and "2 trials: 1 measured, 0 ended early, 1 failed" in text
