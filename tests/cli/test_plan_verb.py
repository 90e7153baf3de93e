"""Plans on the command line: save, show, load, refusals."""

from pathlib import Path

import pytest

from ffbench.cli.main import main

TINY = ["model=tiny_llama", "block_size=32", "calibration.tokens=1024", "calibration.window=512", "compensator.rank=8"]


def test_save_show_load_and_refuse(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder, words = tmp_path / "plan", [*TINY, f"output_dir={tmp_path / 'out'}"]
    assert main(["plan", "save", str(folder), *words]) == 0
    saved = capsys.readouterr().out
    assert "kept     80 of 160" in saved and "surrogate rank 8" in saved
    assert main(["plan", "show", str(folder)]) == 0
    assert capsys.readouterr().out == saved
    assert main(["plan", "load", str(folder), *words]) == 0
    assert main(["plan", "load", str(folder), "model=tiny_qwen2"]) == 2
    assert "made for" in capsys.readouterr().err
    assert main(["plan", "save", str(folder), *words]) == 2
    assert "not empty" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "text"), [
    (["show", "{}/none"], "not a readable plan"), (["save", "{}/x", "sparsity=0"], "needs no plan"),
    (["save", "{}/x", "sparsity=0.3,0.5"], "2 jobs were given"), (["show", "{}", "sparsity=0.5"], "takes a folder only"),
])
def test_refusals(words: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["plan", *(word.replace("{}", str(tmp_path)) for word in words)]) == 2
    assert text in capsys.readouterr().err


def test_speed_prints_figures_and_refuses(capsys: pytest.CaptureFixture) -> None:
    assert main(["speed", "--sparsity", "1.5", "--rounds", "0"]) == 2
    text = capsys.readouterr().err
    assert "--sparsity" in text and "--rounds" in text
