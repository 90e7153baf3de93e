"""The predictor's fit against ridge regression by hand, and its score."""

import numpy as np
import pytest
import torch
from simulated_card import CARD, CardTensor, simulated_card

from ffbench.methods.linalg import Moments
from ffbench.methods.selectors.predictor import (
    CLIP,
    LIMIT,
    RIDGE,
    EnergySums,
    Predictor,
    fit_predictor,
)

D, F, T = 10, 7, 3000


def fitted(
    x: torch.Tensor, energy: torch.Tensor, scale: torch.Tensor, ridge: float = RIDGE
) -> Predictor:
    sums, moments = EnergySums.zeros(D, scale), Moments.zeros(D, F)
    for start in range(0, len(x), 1000):
        sums.add(x[start : start + 1000], energy[start : start + 1000])
        moments.add(x[start : start + 1000], energy[start : start + 1000])
    return fit_predictor(moments, sums, ridge)


def test_the_fit_is_ridge_regression_on_standardised_inputs() -> None:
    generator = torch.Generator().manual_seed(0)
    # whole numbers and scales that are powers of two: all float32 sums are exact
    x = torch.randint(-4, 5, (T, D), generator=generator) * torch.arange(1.0, D + 1) + 3
    energy = torch.randint(0, 20, (T, F), generator=generator) + x[:, :F].abs()
    scale = 2.0 ** torch.arange(-1, F - 1)
    predictor = fitted(x, energy, scale, 0.3)
    x, r = x.double(), (energy / scale).clamp_max(CLIP).double()
    assert (r == CLIP).any()
    deviation = x.std(0, unbiased=False)
    z = (x - x.mean(0)) / deviation
    slope = torch.linalg.solve(z.T @ z / T + 0.3 * torch.eye(D), z.T @ (r - r.mean(0)) / T)
    # half precision rounds by 2^-11, and below 2^-14 by 2^-25
    torch.testing.assert_close(
        predictor.weights.double(), (slope / deviation[:, None]).T, rtol=2.0**-11, atol=2.0**-25
    )
    torch.testing.assert_close(predictor.prior, energy.mean(0))


def test_a_predictable_neuron_rises_and_falls_with_its_input() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(T, D, generator=generator)
    energy = torch.ones(T, F)
    energy[:, 2] = x[:, 0].mul(0.8).exp()
    predictor = fitted(x, energy, energy.mean(0))
    # the slope of exp(0.8 x) over its mean is 0.8 for normal x, ridge regression divides it by
    # 1 + RIDGE, and the mean of T products of x and exp(0.8 x) has a standard error of 2.5/sqrt(T)
    slope = predictor.weights[2, 0].item()
    assert slope == pytest.approx(0.8 / (1 + RIDGE), abs=4 * 2.5 / T**0.5)
    blocks = torch.zeros(2, 16, D) + predictor.mean
    blocks[0, :, 0] += 2
    blocks[1, :, 0] -= 2
    ratios = predictor.scores(blocks) / predictor.prior
    assert ratios.shape == (2, F)
    torch.testing.assert_close(ratios[:, 2], torch.tensor([2 * slope, -2 * slope]).exp())
    others = [0, 1, 3, 4, 5, 6]
    # constant energies: what slope they have comes from sums that are rounded to 2^-24 of T tokens
    torch.testing.assert_close(ratios[:, others], torch.ones(2, F - 1), rtol=0, atol=T * 2.0**-24)


def test_without_slope_the_score_is_the_prior_and_order_of_tokens_is_nothing() -> None:
    predictor = random_predictor()
    flat = Predictor(predictor.mean, torch.zeros(F, D), predictor.prior)
    torch.testing.assert_close(flat.scores(torch.randn(3, 5, D)), flat.prior.expand(3, F))
    steep, block = predictor, torch.randn(1, 9, D)
    torch.testing.assert_close(steep.scores(block), steep.scores(block.flip(1)))


def test_cost_and_refusal() -> None:
    assert (
        Predictor(torch.zeros(D), torch.zeros(F, D), torch.rand(F)).flops(128)
        == 128 * D + 2 * F * D
    )
    with pytest.raises(ValueError, match="no calibration tokens"):
        fit_predictor(Moments.zeros(D, F), EnergySums.zeros(D, torch.ones(F)))


def random_predictor() -> Predictor:
    g = torch.Generator().manual_seed(0)
    weights = torch.randn(F, D, generator=g)
    return Predictor(torch.randn(D, generator=g), weights, torch.rand(F, generator=g) + 0.5)


@pytest.mark.parametrize("rank", [1, 3, F, 99])
def test_a_rank_cuts_the_map_to_its_best_approximation(rank: int) -> None:
    full, blocks = random_predictor(), 0.3 * torch.randn(2, 5, D)
    low = full.of_rank(rank)
    u, s, vt = np.linalg.svd(full.weights.double().numpy(), full_matrices=False)
    kept = min(rank, F)
    expected = torch.from_numpy(u[:, :kept] * s[:kept] @ vt[:kept]).float()
    assert low.projection is not None and low.weights.shape == (F, kept)
    torch.testing.assert_close(low.weights @ low.projection, expected, rtol=1e-4, atol=1e-5)
    by_hand = Predictor(full.mean, expected, full.prior)
    torch.testing.assert_close(low.scores(blocks), by_hand.scores(blocks), rtol=1e-3, atol=1e-4)
    assert low.flops(5) == 5 * D + 2 * kept * (D + F)
    order = torch.randperm(F)
    moved = Predictor.from_tensors(low.permuted(order).tensors())
    torch.testing.assert_close(moved.scores(blocks), low.scores(blocks)[:, order])
    assert {n: value.dim() for n, value in low.tensors().items()} == {
        n: len(axes) for n, axes in low.axes.items()
    }


def test_without_a_rank_the_map_is_whole() -> None:
    full = random_predictor()
    assert full.of_rank(None) is full and set(full.tensors()) == {"mean", "weights", "prior"}


def test_on_a_card_half_weights_are_not_widened() -> None:
    """Against float64; a product of 10 rounded factors is off by at most 11 roundings of its sum
    of magnitudes, two more for the inputs and the result."""
    full, blocks = random_predictor(), torch.randn(2, 5, D)
    full.weights = full.weights.half()
    with simulated_card():
        card = full.to(CARD)
        shift = card.shift(CardTensor(blocks), card.weights)
        assert shift.dtype == torch.float32 and shift.device == CARD
        shift = shift.cpu()
    inputs = blocks.double().mean(1) - full.mean.double()
    exact = inputs @ full.weights.double().T
    allowed = 13 * 2.0**-11 * (inputs.abs() @ full.weights.double().abs().T)
    assert ((shift - exact.clamp(-LIMIT, LIMIT)).abs() <= allowed).all()
