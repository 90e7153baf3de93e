"""Bad sweep files: exit code 2, the key that is wrong and what is valid, no traceback, no model."""

from pathlib import Path

import pytest
from refusals import refused

SWEEP = (
    "method: grid\ncommand: ['${env}', '${interpreter}', -m, ffbench, '${args_no_hyphens}']\n"
    "parameters: {sparsity: {values: [0.3]}}\n"
)
SWEEPS = {
    "not YAML": ("a: [", "is not YAML"),
    "a list": ("- 1", "is not a sweep file"),
    "empty": ("", "is not a sweep file"),
    "bayes": (SWEEP.replace("grid", "bayes"), "metric is missing"),
    "no method": (SWEEP.replace("method: grid\n", ""), "choose one of grid, random"),
    "no arguments": (SWEEP.replace(", '${args_no_hyphens}'", ""), "args_no_hyphens"),
    "unknown setting": (SWEEP.replace("sparsity", "sparsty"), "did you mean 'sparsity'"),
    "value out of range": (SWEEP.replace("0.3", "1.3"), "sparsity: 1.3"),
    "range in a grid": (
        SWEEP.replace("values: [0.3]", "min: 0, max: 1"),
        "a grid needs value or values",
    ),
    "no UTF-8": (SWEEP + "# größe", "is not UTF-8 text"),
    "nested": ("[" * 3000, "is not YAML"),
    "command holds a number": (SWEEP.replace("-m,", "3,"), "command holds 3, which is not text"),
    "a parameter is a number": (SWEEP.replace("sparsity", "3"), "parameters.3: not a setting"),
    "keys of two types": (
        SWEEP.replace("values: [0.3]", "1: 2, a: 3"),
        "parameters.sparsity: unknown key '1'",
    ),
    "a date": (SWEEP.replace("0.3", "2024-01-01"), "has no spelling as an override"),
    "not a number": (SWEEP.replace("0.3", ".nan"), "sparsity: nan is not a finite number"),
    "a launcher among the parameters": (
        SWEEP.replace("sparsity: {values: [0.3]}", "launcher: {values: [local, joblib]}"),
        "parameters.launcher: not a setting of a run",
    ),
}


DRAWS = [
    ("values: [0.1, 0.2], probabilities: 5", "probabilities must be 2 numbers"),
    ("values: [0.1, 0.2], probabilities: [a, b]", "probabilities must be 2 numbers"),
    ("values: [0.1, 0.2], probabilities: [-1, 2]", "at least 0 that sum to 1"),
    ("distribution: q_uniform, min: 0.1, max: 0.5, q: 0", "q is 0; give a number above 0"),
    ("distribution: q_uniform, min: 0.1, max: 0.5, q: x", "q is 'x'"),
    ("distribution: normal, mu: a", "normal needs numbers, not mu='a'"),
    ("min: .nan, max: 0.5", "needs numbers min < max"),
    ("min: 0.1, max: .inf", "needs numbers min < max"),
]
SWEEPS |= {
    spec: (SWEEP.replace("grid", "random").replace("values: [0.3]", spec), text)
    for spec, text in DRAWS
}


@pytest.mark.parametrize("name", SWEEPS)
def test_bad_sweep_files(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(SWEEPS[name][0].encode("latin-1"))
    refused(
        ["sweep", str(path), "--local", "model=tiny_llama", f"output_dir={tmp_path / 'out'}"],
        SWEEPS[name][1],
        capsys,
        monkeypatch,
    )
