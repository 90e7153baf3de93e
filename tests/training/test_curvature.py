"""Curvature against the KL that random changes of one neuron's activation really cause."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ffbench.models.adapters import gated_ffns
from ffbench.training.curvature import load_curvature, neuron_curvature, save_curvature
from ffbench.training.tuning import teacher

TOKENS, SINKS = 48, 24


def windows(count: int) -> torch.Tensor:
    return torch.randint(3, 259, (count, TOKENS), generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def measured(model: Any, layer: int, neuron: int, text: torch.Tensor, size: float) -> float:
    """Mean KL over the later positions when the neuron's activation is moved by +-size at each
    later token."""
    generator = torch.Generator().manual_seed(neuron)
    dense = model(text).logits[:, SINKS:].double().log_softmax(-1)

    def move(module: Any, args: tuple) -> tuple:
        signs = torch.randint(2, args[0].shape[:2], generator=generator) * 2.0 - 1
        signs[:, :SINKS] = 0
        moved = args[0].clone()
        moved[:, :, neuron] += size * signs
        return (moved,)

    hook = gated_ffns(model)[layer].module.down_proj.register_forward_pre_hook(move)
    try:
        found = [
            torch.nn.functional.kl_div(
                model(text).logits[:, SINKS:].double().log_softmax(-1),
                dense,
                log_target=True,
                reduction="none",
            )
            .sum(-1)
            .mean()
            .item()
            for _ in range(12)
        ]
    finally:
        hook.remove()
    return sum(found) / len(found)


def test_half_the_curvature_is_the_kl_of_a_small_change(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ffbench.training.curvature.SINK_TOKENS", SINKS)
    monkeypatch.setattr(teacher, "SINK_TOKENS", SINKS)
    text, size = windows(64), 0.05
    curvature = neuron_curvature(model, text.repeat(4, 1))
    assert curvature.shape == (len(gated_ffns(model)), gated_ffns(model)[0].w_gate.shape[0])
    for layer in range(len(curvature)):
        for neuron in (0, 7):
            expected = measured(model, layer, neuron, text, size)
            assert 0.5 * size**2 * curvature[layer, neuron].item() == pytest.approx(
                expected, rel=0.2
            )


def test_the_model_is_left_as_it_was_and_the_file_holds_it(model: Any, tmp_path: Path) -> None:
    grads = [one.requires_grad for one in model.parameters()]
    curvature = neuron_curvature(model, windows(2))
    assert torch.equal(curvature, neuron_curvature(model, windows(2)))
    assert [one.requires_grad for one in model.parameters()] == grads
    assert not model.get_input_embeddings()._forward_hooks and all(
        one.grad is None for one in model.parameters()
    )
    save_curvature(curvature, tmp_path)
    assert torch.equal(load_curvature(tmp_path), curvature)
