"""The generated tables of docs/kernels.md: in step with the committed results, and honest about
what is missing."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "kernels_page.py"
LINE = {
    "shape": "llama3.2-1b",
    "dtype": "f32",
    "block": 128,
    "group": 32,
    "hot_fraction": 0.5,
    "tokens": 2048,
    "sparsity": 0.5,
    "threads": 1,
    "backend": "native",
    "indices": "random",
    "cpu": "A",
    "ratio_eager": 1.79,
    "p20": 1.78,
    "p80": 1.81,
    "ratio_compiled": None,
    "ratio_self": 1.8,
    "ideal": 2.0,
    "gflops": 126.0,
    "peak_gflops": 158.0,
    "torch": "2",
    "git_sha": "abc",
    "command": "python -m ffkernels.bench",
}


@pytest.fixture
def page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kernels_page", PATH)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_in_step_with_the_results(page: ModuleType) -> None:
    text = page.PAGE.read_text()
    assert page.renewed(text) == text, "run `python benchmarks/kernels_page.py`"


def test_the_last_line_of_a_setting_counts(
    page: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    lines = [
        LINE,
        LINE | {"ratio_eager": 1.85},
        LINE | {"block": 256, "ratio_eager": 1.9, "ratio_compiled": 1.7},
    ]
    (tmp_path / "kernels.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    text = "\n".join(page.kernels())
    assert "1.79 (" not in text and "| 1.85 (1.78 to 1.81) | - |" in text and "| 1.70 |" in text
    assert "groups of 32, 50% hot" in text and "80%" in text and "git_sha abc" in text


def test_a_page_without_marks_is_refused(page: ModuleType) -> None:
    with pytest.raises(ValueError, match="kernels: made by"):
        page.replaced("text", "kernels", [])
