"""FFNs that give zero for the context: the last layer's costs nothing, more of them do."""

import json
from pathlib import Path

import depth
import pytest
import torch
from test_accuracy_selectors import TINY
from tiny_plans import tiny_model

from ffbench.models.adapters import gated_ffns


@torch.no_grad()
def test_only_the_last_ffns_are_zero_and_only_inside() -> None:
    model = tiny_model()
    x = torch.randn(1, 5, model.config.hidden_size)
    modules = [ffn.module for ffn in gated_ffns(model)]
    dense = [module(x) for module in modules]
    with depth.zero_ffns(model, 1) as prefill:
        assert not modules[-1](x).any() and torch.equal(modules[0](x), dense[0])
        prefill.paused = True
        assert torch.equal(modules[-1](x), dense[-1])
    assert torch.equal(modules[-1](x), dense[-1])


def test_last_layer_reaches_no_later_token(tmp_path: Path) -> None:
    out = tmp_path / "depth.jsonl"
    arguments = [
        *TINY,
        f"output_dir={tmp_path / 'outputs'}",
        f"--out={out}",
        "--layers=1,2",
    ]
    assert depth.main(arguments) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["zero_layers"] for line in lines] == [1, 2]
    last, two = (line["fidelity"]["tails"]["continuation"]["kl"] for line in lines)
    assert abs(last) < 1e-6 and two > 10 * abs(last)
    assert lines[1]["fidelity"]["density_used"] == pytest.approx(1 - 2 / lines[1]["layers"])
    assert depth.main(arguments) == 0 and len(out.read_text().splitlines()) == 2


def test_too_many_layers_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*TINY, f"output_dir={tmp_path}", f"--out={tmp_path / 'd.jsonl'}", "--layers=99"]
    assert depth.main(arguments) == 2
    assert "error: --layers: 99 is not in 1.." in capsys.readouterr().err
