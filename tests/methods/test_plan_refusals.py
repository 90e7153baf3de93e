"""Plans that must not be used: wrong model, version, settings, or files that do not belong
together."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ffbench.methods.plan import FORMAT_VERSION, PlanError, PlanSettings, SparsePlan
from ffbench.models.loading import ModelSpec, load_tiny
from ffbench.models.shapes import random_plan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = load_tiny(ModelSpec("tiny", "tiny", "llama"))[0]
    plan = random_plan(model, PlanSettings("svd_gate", "surrogate", "uniform", 16, 0.5, 0.25, 8))
    plan.save(tmp_path)
    again = SparsePlan.load(tmp_path, {"model": "random"})
    assert again.settings == plan.settings
    for one, other in zip(plan.layers, again.layers, strict=True):
        assert (
            set(one.extra)
            == set(other.extra)
            >= {"neuron_gate_left", "gate_right", "neuron_second"}
        )
        assert all(torch.equal(one.extra[name], other.extra[name]) for name in one.extra)
    return tmp_path


def header(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        found = json.loads((folder / "plan.json").read_text())
        change(found)
        (folder / "plan.json").write_text(json.dumps(found))

    return edit


def tensors(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        found = load_file(folder / "plan.safetensors")
        change(found)
        save_file(
            {name: one.contiguous() for name, one in found.items()}, folder / "plan.safetensors"
        )

    return edit


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "older version": (
        header(lambda h: h.update(format_version=1)),
        f"version 1, this build reads {FORMAT_VERSION}",
    ),
    "newer version": (header(lambda h: h.update(format_version=99)), "format version 99"),
    "new setting": (header(lambda h: h["settings"].update(warp=1)), "does not know: warp.*newer"),
    "lost setting": (header(lambda h: h["settings"].pop("selector")), "not a readable plan"),
    "no settings": (header(lambda h: h.pop("settings")), "not a readable plan"),
    "too many kept": (header(lambda h: h["layers"][1].update(kept=161)), "layer 1: kept 161"),
    "more hot than kept": (
        header(lambda h: h["layers"][0].update(hot=81)),
        "layer 0: kept 80 and hot 81",
    ),
    "a layer too many": (
        header(lambda h: h["layers"].append(h["layers"][0])),
        "not a readable plan",
    ),
    "no permutation": (
        tensors(lambda t: t["0.order"].zero_()),
        "layer 0: its order is no permutation",
    ),
    "short tensor": (
        tensors(lambda t: t.update({"1.surrogate.c": t["1.surrogate.c"][:9]})),
        "layer 1: expected 160 rows",
    ),
    "short extra": (
        tensors(lambda t: t.update({"0.extra.neuron_mean": t["0.extra.neuron_mean"][:9]})),
        "extra.neuron_mean",
    ),
    "lost tensor": (
        tensors(lambda t: t.update(spare=t.pop("0.predictor.prior"))),
        "not a readable plan",
    ),
    "no tensors": (lambda folder: (folder / "plan.safetensors").unlink(), "not a readable plan"),
    "garbage": (
        lambda folder: (folder / "plan.safetensors").write_bytes(b"\x80\x04pickle"),
        "not a readable plan",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_plan_that_does_not_fit_is_refused(folder: Path, name: str) -> None:
    spoil, text = BAD[name]
    spoil(folder)
    with pytest.raises(PlanError, match=text):
        SparsePlan.load(folder)


def test_another_model_is_refused(folder: Path) -> None:
    with pytest.raises(PlanError, match="made for .*'random'.*the model is .*'other'"):
        SparsePlan.load(folder, {"model": "other"})


def test_settings_that_are_newer_than_the_plan_have_their_defaults(folder: Path) -> None:
    header(lambda h: (h["settings"].pop("group_size"), h["settings"].pop("blocks")))(folder)
    assert (
        SparsePlan.load(folder).settings.group_size == 1
        and SparsePlan.load(folder).settings.blocks == "consecutive"
    )
