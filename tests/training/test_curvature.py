"""Curvature against the KL that changes of one neuron's activation really cause."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_plans import tiny_model

from ffbench.models.adapters import gated_ffns
from ffbench.training.curvature import (
    curvature_values,
    load_curvature,
    load_fisher,
    neuron_curvature,
    save_curvature,
    weighted_values,
)
from ffbench.training.tails import TailWindow, tail_window, tail_windows

TOKENS, FIRST, END = 64, 16, 48
NAMES = ("continuation", "copy", "full")


def windows(count: int) -> list[TailWindow]:
    ids = torch.randint(3, 259, (count, TOKENS), generator=torch.Generator().manual_seed(5))
    return [tail_window(row, FIRST, END) for row in ids]


@torch.no_grad()
def second_derivative(
    model: Any, layer: int, neuron: int, text: list[TailWindow], name: str, step: float = 1e-3
) -> float:
    """Of the sum of the KL at an objective's positions, by the neuron's activation at one context
    token; mean over context tokens and windows. By central differences, so `model` is float64."""
    tokens, total = range(FIRST, END), 0.0

    def log_probabilities(window: TailWindow, change: float) -> torch.Tensor:
        """[context tokens, positions, vocabulary]: a row for each token that is changed."""

        def move(module: Any, args: tuple) -> tuple:
            moved = args[0].clone()
            moved[range(len(tokens)), tokens, neuron] += change
            return (moved,)

        down = model.model.layers[layer].mlp.down_proj
        with down.register_forward_pre_hook(move):
            logits = model(window.ids.expand(len(tokens), -1), use_cache=False).logits
        return logits[:, window.positions[name]].log_softmax(-1)

    for window in text:
        dense = log_probabilities(window, 0.0)
        for change in (step, -step):
            moved = log_probabilities(window, change)
            total += (dense.exp() * (dense - moved)).sum().item()
    return total / step**2 / len(tokens) / len(text)


@pytest.mark.parametrize("name", ["continuation", "full"])
def test_the_curvature_is_the_second_derivative_of_the_kl(name: str) -> None:
    """It is a mean over drawn tokens, whose spread over seeds says how exact it is."""
    model, exact, text = tiny_model(), tiny_model().double(), windows(4)
    drawn = torch.stack(
        [neuron_curvature(model, text, [name], seed)[0][name] for seed in range(96)]
    )
    curvature, error = drawn.mean(0), drawn.std(0) / len(drawn) ** 0.5
    ffns = gated_ffns(model)
    assert curvature.shape == (len(ffns), ffns[0].w_gate.shape[0])
    last = len(ffns) - 1
    for layer, neuron in ((0, 0), (0, 7), (last, 3)):
        expected = second_derivative(exact, layer, neuron, text, name)
        if name != "full" and layer == last:
            assert not curvature[layer].any() and expected == 0
            continue
        assert error[layer, neuron] < 0.08 * expected
        assert abs(curvature[layer, neuron] - expected) < 4 * error[layer, neuron]


def test_the_model_is_left_as_it_was_and_the_file_holds_it(model: Any, tmp_path: Path) -> None:
    grads = [weight.requires_grad for weight in model.parameters()]
    curvature, fisher = neuron_curvature(model, windows(2), NAMES)
    again, _ = neuron_curvature(model, windows(2), NAMES)
    assert set(curvature) == set(NAMES)
    assert all(torch.equal(curvature[name], again[name]) for name in NAMES)
    assert [weight.requires_grad for weight in model.parameters()] == grads
    assert not model.get_input_embeddings()._forward_hooks
    assert all(weight.grad is None for weight in model.parameters())
    save_curvature(curvature, fisher, tmp_path)
    loaded, directions = load_curvature(tmp_path), load_fisher(tmp_path)
    assert all(torch.equal(loaded[name], curvature[name]) for name in NAMES)
    assert all(torch.equal(directions[name], fisher[name]) for name in NAMES)


def test_the_fisher_information_has_the_curvature_of_every_neuron(model: Any) -> None:
    curvature, fisher = neuron_curvature(model, windows(2), NAMES)
    for name in NAMES:
        for layer, ffn in enumerate(gated_ffns(model)):
            down = ffn.w_down
            along = (down * (fisher[name][layer] @ down)).sum(0)
            torch.testing.assert_close(along, curvature[name][layer], rtol=1e-3, atol=1e-9)


def test_recomputed_layers_have_the_same_curvature(model: Any) -> None:
    kept, again = (
        neuron_curvature(model, windows(2), NAMES, recompute=r)[0] for r in (False, True)
    )
    assert all(torch.equal(kept[name], again[name]) and kept[name].any() for name in NAMES)
    assert not any("forward" in vars(layer) for layer in model.model.layers)


def test_values_by_hand() -> None:
    energies, squares = torch.tensor([[4.0, 1.0]]), torch.tensor([[2.0, 0.5]])
    values = curvature_values(energies, torch.tensor([[3.0, 5.0]]), squares)
    torch.testing.assert_close(values, torch.tensor([[3.0, 5.0]]))
    mixed = weighted_values(
        {"a": torch.tensor([[1.0, 3.0]]), "b": torch.tensor([[100.0, 0.0]])}, {"a": 1.0, "b": 3.0}
    )
    torch.testing.assert_close(mixed, torch.tensor([[0.25 * 0.25 + 0.75, 0.25 * 0.75]]))


def test_windows_of_a_context_and_its_tails() -> None:
    window = tail_window(torch.arange(100, 200), 10, 70)
    copied = window.ids[100:]
    assert len(copied) == 60 and torch.equal(copied, torch.arange(110, 170))
    assert window.positions["continuation"].tolist() == list(range(70, 99))
    assert window.positions["copy"].tolist() == list(range(100 + 16 - 1, 159))
    assert window.positions["full"].tolist() == list(range(10, 70))
    assert all(w.end == 768 for w in tail_windows(torch.zeros(2, 1024, dtype=torch.long), 128))
    with pytest.raises(ValueError, match="leaves no tail"):
        tail_window(torch.arange(100), 10, 99)
