"""Plans on the command line: save, show, load, refusals."""

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from safetensors import SafetensorError, safe_open
from tiny_settings import EXPERTS, SMALL

from ffbench.cli.main import main
from ffkernels.bench.__main__ import main as ffkernels_bench

TINY = [
    "scheduler=uniform",
    "model=tiny_llama",
    "compensator=surrogate",
    "block_size=32",
    "first_dense=32",
    "last_dense=32",
    "calibration.tokens=1024",
    "calibration.window=512",
    "compensator.rank=8",
]


def test_save_show_load_and_refuse(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder, overrides = tmp_path / "plan", [*TINY, f"output_dir={tmp_path / 'out'}"]
    assert main(["plan", "save", str(folder), *overrides]) == 0
    saved = capsys.readouterr().out
    assert (
        "kept     80 of 160" in saved
        and "surrogate (rank 8, output_map_rank 0, tune_steps 0)" in saved
    )
    assert main(["plan", "show", str(folder)]) == 0
    assert capsys.readouterr().out == saved
    assert main(["plan", "load", str(folder), *overrides]) == 0
    assert main(["plan", "load", str(folder), "model=tiny_qwen2"]) == 2
    assert "made for" in capsys.readouterr().err
    assert main(["plan", "save", str(folder), *overrides]) == 2
    assert "not empty" in capsys.readouterr().err


def test_a_plan_of_experts_names_them_and_cannot_be_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    settings = ["model=tiny_olmoe", *SMALL, *EXPERTS, "calibration.tokens=4096"]
    settings += ["kernel=auto", f"output_dir={tmp_path / 'o'}"]
    folder = str(tmp_path / "plan")
    assert main(["plan", "save", folder, *settings]) == 0
    saved = capsys.readouterr().out
    assert "layer   1, expert   7  kept     80 of 160" in saved
    assert "dense experts  none" in saved
    assert main(["plan", "load", folder, *settings]) == 0
    assert capsys.readouterr().out == saved
    assert main(["plan", "record", folder, *settings]) == 2
    assert "plan record: the benchmark replays dense models only" in capsys.readouterr().err


def test_a_saved_plan_says_what_its_run_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    settings = ["model=tiny_llama", "scheduler=uniform", "compensator.rank=8", *SMALL]
    settings += [
        "compensator.output_map_rank=0",
        "task=none",
        "fidelity.windows=2",
        f"output_dir={tmp_path / 'out'}",
    ]
    folder = tmp_path / "plan"
    assert main(settings) == 0
    (run,) = (tmp_path / "out" / "runs").iterdir()
    measured = json.loads((run / "result.json").read_text())["fidelity"]["tails"]["continuation"]
    capsys.readouterr()
    assert main(["plan", "save", str(folder), *settings]) == 0
    shown = f"answer KL      {measured['kl']:.4f} ({measured['kl_low']:.4f} to"
    assert shown in capsys.readouterr().out
    for made in (folder, run / "plan"):
        card = json.loads((made / "plan.json").read_text())["card"]
        assert card["answer_kl"]["kl"] == measured["kl"] and "speed" not in card
        assert (card["model"], card["location"], card["dtype"]) == (
            "tiny_llama",
            "llama",
            "float32",
        )
        assert "| answer KL |" in (made / "README.md").read_text()
    assert main(["plan", "load", str(folder), "model=tiny_qwen3", *settings[1:]]) == 2
    assert "made for tiny_llama (llama, float32), not for tiny_qwen3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["show", "{}/none"], "cannot be read"),
        (["save", "{}/x", "sparsity=0"], "needs no plan"),
        (["save", "{}/x", "sparsity=0.3,0.5"], "2 jobs were given"),
        (["show", "{}", "sparsity=0.5"], "takes a folder only"),
    ],
)
def test_refusals(
    overrides: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["plan", *(word.replace("{}", str(tmp_path)) for word in overrides)]) == 2
    assert text in capsys.readouterr().err


def test_record_writes_what_the_plan_keeps(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "plan"
    overrides = [*TINY, f"output_dir={tmp_path / 'out'}", "hot_fraction=0.25", "group_size=8"]
    assert main(["plan", "save", str(folder), *overrides]) == 0
    assert (
        main(
            [
                "plan",
                "record",
                str(folder),
                *overrides,
                "fidelity.windows=2",
                "fidelity.contexts=[200]",
            ]
        )
        == 0
    )
    assert "2 layers, 16 blocks of 32 tokens" in capsys.readouterr().out
    with safe_open(folder / "indices.safetensors", "pt") as file:
        assert file.metadata() == {
            "d": "64",
            "f": "160",
            "block_size": "32",
            "group_size": "8",
            "layers": "2",
        }
        hot, indices = file.get_tensor("hot").tolist(), file.get_tensor("1.indices")
    assert hot == [16, 16] and indices.shape == (16, 80 - 16)
    assert bool((indices[:, 1:] > indices[:, :-1]).all()) and indices.min() >= 16
    bench = [
        "--from-plan",
        str(folder),
        "--backend",
        "torch",
        "--rounds",
        "1",
        "--no-compile",
        "--json",
    ]
    assert ffkernels_bench(bench) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["group_size"], line["block_size"], line["layers"]) == (
        8,
        32,
        ["layer 0", "layer 1"],
    )
    assert (
        main(
            [
                "plan",
                "record",
                str(folder),
                *overrides,
                "fidelity.windows=2",
                "fidelity.contexts=[64]",
            ]
        )
        == 2
    )
    assert "have no sparse blocks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("No space left on device (os error 28)", "the disk is full"),
        ("File too large (os error 27)", "a limit on the size of files is reached (ulimit -f)"),
    ],
)
def test_a_plan_that_the_disk_does_not_take(
    words: str,
    text: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Unwritable:
        card: ClassVar[dict[str, Any]] = {}

        def save(self, folder: Path) -> None:
            raise SafetensorError(f"Error while serializing: I/O error: {words}")

    monkeypatch.setattr("ffbench.experiment.session.trained_plan", lambda settings: Unwritable())
    assert main(["plan", "save", str(tmp_path / "p"), *TINY]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"error: cannot write the plan to {tmp_path / 'p'}: {text}")
