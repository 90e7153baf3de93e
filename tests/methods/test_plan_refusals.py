"""Plans that must not be used: wrong model, version, settings, or files that do not belong
together."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_plans import random_tiny_plan, tiny_model

from ffbench.methods.plan import PlanError, SparsePlan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    plan = random_tiny_plan(
        tiny_model(), selector="svd_gate", compensator="surrogate", hot_fraction=0.25
    )
    plan.save(tmp_path)
    assert SparsePlan.load(tmp_path, {"model": "random"}).settings == plan.settings
    return tmp_path


def header(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = json.loads((folder / "plan.json").read_text())
        change(content)
        (folder / "plan.json").write_text(json.dumps(content))

    return edit


def tensors(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = load_file(folder / "plan.safetensors")
        change(content)
        save_file(
            {name: one.contiguous() for name, one in content.items()}, folder / "plan.safetensors"
        )

    return edit


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "older version": (
        header(lambda h: h.update(format_version=1)),
        "version 1, this version of FFBench reads 3 and 4",
    ),
    "newer version": (header(lambda h: h.update(format_version=99)), "format version 99"),
    "new setting": (header(lambda h: h["settings"].update(warp=1)), "warp"),
    "lost setting": (header(lambda h: h["settings"].pop("selector")), "cannot be read"),
    "unknown method": (
        header(lambda h: h["settings"]["selector"].update(name="warp")),
        "selector: 'warp' is unknown.*if a newer version made it, update FFBench",
    ),
    "unknown parameter": (
        header(lambda h: h["settings"]["compensator"].update(warp=1)),
        "compensator.warp: compensator 'surrogate' has no such parameter",
    ),
    "wider tensor": (
        tensors(lambda t: t.update({"0.predictor.weights": torch.zeros(160, 65)})),
        "layer 0: predictor.weights: input 65",
    ),
    "no settings": (header(lambda h: h.pop("settings")), "cannot be read"),
    "too many kept": (header(lambda h: h["layers"][1].update(kept=161)), "layer 1: kept 161"),
    "more hot than kept": (
        header(lambda h: h["layers"][0].update(hot=81)),
        "layer 0: kept 80 and hot 81",
    ),
    "a layer too many": (
        header(lambda h: h["layers"].append(h["layers"][0])),
        "cannot be read",
    ),
    "no permutation": (
        tensors(lambda t: t["0.order"].zero_()),
        "layer 0: `order` is not a permutation",
    ),
    "short tensor": (
        tensors(lambda t: t.update({"1.compensator.mean": t["1.compensator.mean"][:9]})),
        r"layer 1: compensator.mean: neuron 9 \(expected 160\)",
    ),
    "short statistic": (
        tensors(lambda t: t.update({"0.statistics.mean": t["0.statistics.mean"][:9]})),
        "layer 0: statistics.mean",
    ),
    "lost tensor": (
        tensors(lambda t: t.update(spare=t.pop("0.predictor.prior"))),
        "cannot be read",
    ),
    "groups that do not divide the layer": (
        header(lambda h: h["settings"].update(group_size=7)),
        "layer 0: group_size: 7 does not divide the layer's 160 neurons",
    ),
    "half a group": (
        header(lambda h: h["settings"].update(group_size=32)),
        "layer 0: kept 80 and hot 20 are not whole groups of 32",
    ),
    "a card that is no object": (
        header(lambda h: h.update(card=["x"])),
        "its card is not an object",
    ),
    "no tensors": (lambda folder: (folder / "plan.safetensors").unlink(), "cannot be read"),
    "garbage": (
        lambda folder: (folder / "plan.safetensors").write_bytes(b"\x80\x04pickle"),
        "cannot be read",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_plan_that_does_not_fit_is_refused(folder: Path, name: str) -> None:
    spoil, text = BAD[name]
    spoil(folder)
    with pytest.raises(PlanError, match=text):
        SparsePlan.load(folder)


def test_another_model_is_refused(folder: Path) -> None:
    with pytest.raises(PlanError, match="made for another model, not for the given one"):
        SparsePlan.load(folder, {"model": "other"})


def test_settings_that_are_newer_than_the_plan_have_their_defaults(folder: Path) -> None:
    header(lambda h: (h["settings"].pop("group_size"), h["settings"].pop("blocks")))(folder)
    assert (
        SparsePlan.load(folder).settings.group_size == 1
        and SparsePlan.load(folder).settings.blocks == "consecutive"
    )
