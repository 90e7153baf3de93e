"""The FFN as a graph of standard operations; run where the packages are, refused where not."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx_ffn
import pytest
import torch
from onnx_ffn import ENGINES, FORMS, Shape, allowed, differences, main, missing

TINY = ["--shapes", "64x160", "--tokens", "96", "--block", "32", "--rounds", "1", "--threads", "1"]


def test_a_missing_package_is_one_line(monkeypatch: Any, capsys: Any, tmp_path: Path) -> None:
    for absent, text in ((["onnx"], "the package onnx;"), (["onnx", "openvino"], "onnx and open")):
        monkeypatch.setattr(
            onnx_ffn, "find_spec", lambda name, absent=absent: None if name in absent else find_spec
        )
        out = tmp_path / "lines.jsonl"
        assert main(["--engine", "openvino", "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: onnx_ffn.py needs the package") and text in error
        assert error.count("\n") == 1 and not out.exists()


def test_wrong_sizes_are_refused(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(onnx_ffn, "missing", lambda _: [])
    refused = {
        "--tokens: 100 is not a multiple of --block 128": ["--tokens", "100"],
        "argument --rounds": ["--rounds", "0"],
    }
    for reason, wrong in refused.items():
        with pytest.raises(SystemExit):
            main(wrong)
        assert reason in capsys.readouterr().err


def test_a_graph_that_computes_something_else_is_found() -> None:
    shape = Shape(d=16, f=32, kept=32, block=8, tokens=16)
    weights = onnx_ffn.Weights.random(shape)
    x = torch.randn(16, 16)
    rows = weights.gate, weights.up, weights.down_t
    gate, up, down_t = rows

    def dense(names: list[str], x: torch.Tensor) -> list[torch.Tensor]:
        return [(torch.nn.functional.silu(x @ gate.T) * (x @ up.T)) @ down_t]

    assert differences(shape, weights, x, {"dense": dense})["dense"] < 1e-4
    assert shape.copied == 3 * 4 * 2 * 32 * 16
    assert 0 < allowed(shape, dense(["y"], x)[0]) < 1e-4
    with pytest.raises(ValueError, match="dense: differs from ffkernels by"):
        differences(shape, weights, x, {"dense": lambda names, x: [dense(names, x)[0] + 0.01]})
    kept = torch.arange(16).repeat(2, 1)
    half = Shape(d=16, f=32, kept=16, block=8, tokens=16)
    with pytest.raises(ValueError, match=r"batched: only .* of the neurons are those of torch"):
        differences(half, weights, x, {"batched": lambda *_: [x, kept]})


@pytest.mark.parametrize("engine", ENGINES)
def test_both_forms_equal_the_kernels(engine: str, tmp_path: Path, capsys: Any) -> None:
    if absent := missing(engine):
        pytest.skip(f"needs {', '.join(absent)}")
    out = tmp_path / "lines.jsonl"
    assert main([*TINY, "--engine", engine, "--out", str(out)]) == 0, capsys.readouterr().err
    line = json.loads(out.read_text())
    forms = {*FORMS, "custom"} if engine == "openvino" else set(FORMS)
    assert set(line["differences"]) == {"dense"} | forms
    assert set(line["dense_over"]) == forms | {"ffkernels_dense", "ffkernels_sparse"}
    assert line["kept"] == 80 and line["threads"] == 1 and "git_sha" in line and line["cpu"]
