"""Every script of examples/ runs on a tiny model."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tiny_files import write_folder
from tiny_settings import TINY

from ffbench.cli.main import main as ffbench_main
from ffbench.runs.store import RunStore

EXAMPLES = Path(__file__).parents[2] / "examples"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def plan(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plans") / "plan"
    own = ["model=folder", "model.name=mine", f"model.location={model_folder}"]
    settings = [one for one in TINY if not one.startswith("model=")]
    out = f"output_dir={folder.parent / 'out'}"
    assert ffbench_main(["plan", "save", str(folder), *own, *settings, out]) == 0
    return folder


def test_every_example_is_tried_here() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {
        "sparse_generate",
        "block_norm",
        "sweep",
        "evaluate_plan",
        "paired_difference",
    }


def test_generate(plan: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script("sparse_generate").main(str(plan), str(model_folder))
    density = capsys.readouterr().out.splitlines()[-1]
    assert density.endswith("of the prompt's FFN neurons were computed")
    assert 40 < int(density.partition("%")[0]) < 60


def test_evaluate(plan: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script("evaluate_plan").main(str(plan), str(model_folder), "256")
    out = capsys.readouterr().out
    assert "continuation" in out and "copy" in out and "nan" not in out.lower()


def test_sweep_and_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    settings = [*TINY, "task=none", f"output_dir={out}", "sparsity=0.3,0.5"]
    script("sweep").main(settings)
    lines = capsys.readouterr().out
    keys = [folder.name for folder in (out / "runs").iterdir()]
    assert len(keys) == 2 and all(key in lines for key in keys)
    script("paired_difference").main(*keys, str(out))
    assert "count" in capsys.readouterr().out


def test_a_selector_of_ones_own(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["plugins=[block_norm]", "selector=block_norm", "selector.power=0,1", "task=none"]
    done = subprocess.run(
        [sys.executable, "-m", "ffbench", *TINY, *words, f"output_dir={out}"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(EXAMPLES), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "block_norm" in done.stdout
    store = RunStore(out)
    assert all(store.folder(path.name).state().state == "done" for path in (out / "runs").iterdir())
