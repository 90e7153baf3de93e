"""The tables of docs/kernels.md: the last line of a setting counts, and what is missing is said."""

import json
from pathlib import Path

from tools.docs import kernels

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


def test_the_last_line_of_a_setting_counts(tmp_path: Path) -> None:
    lines = [
        LINE,
        LINE | {"ratio_eager": 1.85},
        LINE | {"block": 256, "ratio_eager": 1.9, "ratio_compiled": 1.7},
    ]
    folder = tmp_path / kernels.RESULTS
    folder.mkdir(parents=True)
    (folder / "kernels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = kernels.kernels(tmp_path)
    assert "1.79 (" not in text and "| 1.85 (1.78 to 1.81) | - |" in text and "| 1.70 |" in text
    assert "groups of 32, 50% hot" in text and "80%" in text and "git_sha abc" in text
    assert "| float32 |" in text  # an old line's f32


def test_without_lines_it_says_so(tmp_path: Path) -> None:
    assert "No measurements yet." in kernels.kernels(tmp_path)
    assert "No measurements yet." in kernels.speeds(tmp_path)
