"""Benchmarks from command line to lines, on a tiny model."""

import json
from pathlib import Path
from typing import Any

import map_inputs
import predictor_variants
import pytest
import union_mass
from test_accuracy_selectors import TINY


def lines_of(module: Any, folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """What a benchmark writes on the tiny model."""
    out = folder / "lines.jsonl"
    own = [f"output_dir={folder / 'outputs'}", "compensator.rank=8", f"--out={out}"]
    assert module.main([*TINY, "fidelity.tails=[continuation,copy]", *own, *arguments]) == 0
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_overlap_falls_short_of_free_choice_more_as_blocks_grow(tmp_path: Path) -> None:
    lines = lines_of(union_mass, tmp_path, "--windows=1", "--length=300")
    for text in ("prose", "code"):
        means = [line for line in lines if line["text"] == text and line["layer"] is None]
        assert [line["block_size"] for line in means] == [1, 16, 32, 64, 128]
        assert means[0]["union"] == pytest.approx(0.5, abs=0.01)
        unions, masses = ([line[name] for line in means] for name in ("union", "mass"))
        assert unions == sorted(unions) and masses == sorted(masses, reverse=True)
        layers = [
            line["mass"] for line in lines if line["text"] == text and line["block_size"] == 16
        ]
        assert layers[-1] == pytest.approx(sum(layers[:-1]) / len(layers[:-1]))


def test_maps_of_both_kinds_of_inputs_cost_the_same(tmp_path: Path) -> None:
    sparse, dense = lines_of(map_inputs, tmp_path, "compensator.output_map_rank=8")
    assert (sparse["inputs"], dense["inputs"]) == ("sparse", "dense")
    assert sparse["flops"] == dense["flops"] and sparse["flops"]["compensator"] > 0
    # of two layers only the second has other inputs, and it reaches only the prompt's own tokens
    tails, prompts = (
        [line["fidelity"][part] for line in (sparse, dense)] for part in ("tails", "prompt")
    )
    assert tails[0] == tails[1] and prompts[0]["kl"] != prompts[1]["kl"]


def test_references_and_variants_are_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor_variants, "VARIANTS", predictor_variants.VARIANTS[:1])
    arguments = ["--layers=1", "--windows=1", "--steps=2"]
    lines = lines_of(predictor_variants, tmp_path, *arguments)
    rows = {line["name"]: line for line in lines}
    assert rows["static"]["retained_energy_gap_closed"] == 0
    assert rows["oracle"]["recall_at_k"] == rows["oracle"]["retained_energy"] == 1
    assert rows["oracle_output"]["recall_at_k"] < 1
    name = predictor_variants.VARIANTS[0].name
    assert rows[name]["kind"] == "form" and 0 < rows[name]["flops_share"] < 1
    assert lines_of(predictor_variants, tmp_path, *arguments) == lines
    through = lines_of(predictor_variants, tmp_path, *arguments, f"--kl={name}")[-1]
    assert through["kind"] == "kl" and through["fidelity"]["tails"]["copy"]["kl"] > 0
