"""Whole groups of neurons: choice, sums, and the offline order."""

import pytest
import torch

from ffbench.methods import groups
from ffbench.methods.compensators.affine import AffineState
from ffbench.methods.neuron_groups import regroup
from ffbench.methods.plan import LayerPlan
from ffbench.methods.selectors.predictor import Predictor


def layer_of(order: torch.Tensor, kept: int, hot: int) -> LayerPlan:
    f = len(order)
    return LayerPlan(
        kept,
        hot,
        order,
        AffineState.zeros(4, f),
        Predictor(torch.zeros(4), torch.zeros(f, 4), torch.ones(f)),
    )


def test_best_groups_by_hand() -> None:
    scores = torch.tensor([[5.0, 0.0, 2.0, 2.0, 9.0, -8.0], [0.0, 0.0, 1.0, 0.0, 0.0, 3.0]])
    assert groups.best(scores, 4, 2).tolist() == [[0, 1, 2, 3], [2, 3, 4, 5]]
    assert groups.best(torch.tensor([[1.0, 4.0, 3.0, 2.0]]), 2, 1).tolist() == [[1, 2]]


def test_kept_neurons_are_hot_ones_and_the_best_groups_in_the_order() -> None:
    order = torch.tensor([6, 2, 0, 4, 1, 3, 5, 7])
    scores = torch.tensor([[1.0, 2.0, 0.0, 2.5, 4.0, 9.0, 0.0, 0.0]])
    kept = groups.kept_neurons(scores, layer_of(order, 4, 2), 2)
    assert kept.tolist() == [[6, 2, 5, 7]]  # cold groups: (0, 4) 5.0, (1, 3) 4.5, (5, 7) 9.0
    assert sorted(groups.kept_neurons(scores, layer_of(order, 4, 0), 1)[0].tolist()) == [1, 3, 4, 5]


def test_regrouping_finds_planted_groups() -> None:
    generator = torch.Generator().manual_seed(0)
    f, size, blocks = 256, 16, 40
    owner = (
        torch.randperm(f, generator=generator) // size
    )  # which planted group a neuron belongs to
    pattern = torch.randn(blocks, f // size, generator=generator) * 2
    energy = (pattern[:, owner] + 0.1 * torch.randn(blocks, f, generator=generator)).exp()
    order = regroup(energy, size)
    assert sorted(order.tolist()) == list(range(f))

    def held(order: torch.Tensor) -> float:
        """Share of the energy of the best single neurons that the best groups hold, at half the
        neurons."""
        ranked = energy[:, order]
        chosen = groups.best(ranked, f // 2, size)
        return (
            (ranked.gather(1, chosen).sum(1) / energy.topk(f // 2, 1).values.sum(1)).mean().item()
        )

    assert held(order) > 0.97
    assert held(torch.arange(f)) < 0.9


def test_regrouping_edges() -> None:
    assert regroup(torch.rand(3, 24), 24).tolist() == list(range(24))
    assert sorted(regroup(torch.zeros(3, 24), 8).tolist()) == list(range(24))
    with pytest.raises(ValueError, match="group: expected a divisor of 24, received 7"):
        regroup(torch.rand(3, 24), 7)
