"""What making a plan asks of a card: reads by the host, copies of weights, and resuming there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from card_counts import Watch
from simulated_card import on_card, simulated_card
from tiny_plans import BLOCK, plan_settings, random_tiny_plan, tiny_model
from tiny_text import windows

from ffbench.models import adapters
from ffbench.models.prefill_state import Prefill
from ffbench.training.curvature import neuron_curvature
from ffbench.training.sensitivity import sparse_ffns
from ffbench.training.tails import TailWindow, block_tail_windows
from ffbench.training.tuning import tune as module
from ffbench.training.tuning.teacher import save_teacher
from ffbench.training.tuning.tune import tune

NAMES = ("continuation", "copy")
WEIGHTS = dict.fromkeys(NAMES, 0.5)


@pytest.fixture(scope="module")
def cpu() -> Any:
    return tiny_model()


def text(count: int) -> list[TailWindow]:
    settings = plan_settings(compensator="surrogate", last_dense=0)
    return block_tail_windows(windows(count, 8 * BLOCK), settings)


def copies(call: Callable[[], object]) -> int:
    """Copies from the card to the host."""
    with Watch() as watch:
        call()
    return watch.outside.reads["_to_copy"]


def test_sums_of_d_x_d_stay_on_the_card_until_the_end(cpu: Any, tmp_path: Path) -> None:
    """Two more windows cost a drawing, or the hidden states, of each objective: nothing per layer."""
    model = on_card(cpu)
    with simulated_card():
        for call in (
            lambda count: neuron_curvature(model, text(count), NAMES),
            lambda count: save_teacher(model, text(count), NAMES, tmp_path),
        ):
            two, four = (copies(lambda c=call, n=count: c(n)) for count in (2, 4))
            assert four - two == 2 * len(NAMES)


def test_curvature_on_a_card_is_the_cpus(cpu: Any) -> None:
    expected = neuron_curvature(cpu, text(2), NAMES)
    with simulated_card():
        found = neuron_curvature(on_card(cpu), text(2), NAMES)
    for here, there in zip(expected, found, strict=True):
        for name in NAMES:
            assert there[name].device.type == "cpu"
            torch.testing.assert_close(there[name], here[name], rtol=1e-3, atol=1e-9)


def test_a_stopped_tuning_resumes_on_a_card(
    cpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAVE_EVERY", 2)
    compensator = {"name": "surrogate", "output_map_rank": 4}
    plan, losses = random_tiny_plan(cpu, compensator=compensator, last_dense=0), {}
    save_teacher(cpu, text(2), NAMES, tmp_path)
    for name, model in (("cpu", cpu), ("card", on_card(cpu))):
        folder = tmp_path / name
        folder.mkdir()
        with simulated_card():
            for steps in (2, 3):
                tune(model, plan, text(2), WEIGHTS, tmp_path, steps, folder)
        losses[name] = json.loads((folder / "losses.json").read_text())
    assert len(losses["card"]) == 3
    assert losses["card"] == pytest.approx(losses["cpu"], rel=1e-3)


def test_sensitivity_holds_the_down_weights_once_and_takes_the_cards_kernel(cpu: Any) -> None:
    plan = random_tiny_plan(cpu)
    with sparse_ffns(cpu, plan, Prefill()) as here:
        assert {ffn.backend for ffn in here} == {"torch"}
    model = on_card(cpu)
    with simulated_card(), sparse_ffns(model, plan, Prefill()) as there:
        assert {ffn.backend for ffn in there} == {"auto"}
        for sparse, ffn in zip(there, adapters.gated_ffns(model), strict=True):
            assert sparse.w_down_t.inner.data_ptr() == ffn.w_down.inner.data_ptr()
