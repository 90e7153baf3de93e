"""Peak memory on fake tensors: the count itself, and what fits which card."""

from functools import partial

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.memory import (
    GB,
    STAGES,
    LiveBytes,
    extrapolated,
    peaks,
    tune_plan,
)
from ffbench.models.shapes import SHAPES

SMALL = "smollm2-135m"
TUNE = {"tune": STAGES["tune"]}
CARD = 24 * 2**30 * 0.95  # what a card of 24 GiB leaves to a program


def test_storages_are_counted_while_they_live() -> None:
    with FakeTensorMode(), LiveBytes() as live:
        a = torch.ones(1000)
        view = a.view(10, 100)[2:]
        b = a * 2
        assert live.now == live.peak == 8000
        del a
        assert live.now == 8000  # the view holds it
        del view, b
        assert (live.now, live.peak) == (0, 8000)
        torch.ones(500).double()
        assert (live.now, live.peak) == (0, 8000)


def test_the_weights_are_counted_once() -> None:
    found = peaks(SMALL, 2, "trained", {"nothing": lambda world: None})
    d, f, vocabulary = 576, 1536, 49152
    weights = vocabulary * d + 2 * (3 * d * f + 2 * d * d + 2 * d * 192 + 2 * d) + d
    least = 2 * weights + found["plan file"]
    assert least <= found["nothing"] < 1.02 * least


def test_each_layer_adds_the_same() -> None:
    predicted, counted = extrapolated(SMALL, "trained", 5, TUNE), peaks(SMALL, 5, "trained", TUNE)
    assert set(counted) == {"tune", "plan file"}
    for name, value in counted.items():
        assert predicted[name] == pytest.approx(value, rel=0.01), name


def test_tuning_an_8b_model_takes_less_than_30_gb_and_its_plan_less_than_1() -> None:
    layers = SHAPES["llama3.1-8b"].layers
    found = extrapolated("llama3.1-8b", "trained_lowrank", layers, TUNE)
    assert 16.1 * GB < found["tune"] < 30 * GB and found["plan file"] < 1 * GB
    without = {"tune": partial(tune_plan, recompute=False)}
    assert extrapolated("llama3.1-8b", "trained_lowrank", layers, without)["tune"] > 80 * GB


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "selector"), [("llama3.2-1b", "trained"), ("llama3.2-3b", "trained_lowrank")]
)
def test_a_24_gib_card_makes_tuned_plans_of_1b_and_3b_models(shape: str, selector: str) -> None:
    found = extrapolated(shape, selector, SHAPES[shape].layers)
    assert all(found[stage] < CARD for stage in STAGES)


@pytest.mark.slow
def test_a_24_gib_card_makes_untuned_plans_of_an_8b_model() -> None:
    untuned = {name: stage for name, stage in STAGES.items() if name != "tune"}
    shape = "llama3.1-8b"
    found = extrapolated(shape, "trained_lowrank", SHAPES[shape].layers, untuned)
    assert all(found[stage] < CARD for stage in untuned)
