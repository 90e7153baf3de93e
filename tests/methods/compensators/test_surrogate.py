"""Closed forms against independent least squares, and the identities that they promise."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ffbench.methods.compensators import COMPENSATORS
from ffbench.methods.compensators.affine import AffineState
from ffbench.methods.compensators.base import FitInputs
from ffbench.methods.compensators.surrogate import (
    Surrogate,
    fit_reduced_rank,
    skip_weights,
)
from ffbench.methods.energy import residual_energy
from ffbench.methods.linalg import Moments

D, F, T = 12, 30, 400


def quarters(values: Tensor) -> Tensor:
    """Rounded to multiples of 1/4: their float32 products, summed over a few hundred, are exact."""
    return values.mul(4).round() / 4


def data(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Moments]:
    """x [T, D], a [T, F], norms [F] and the exact moments of x and a."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(T, D, generator=generator) @ torch.randn(D, D, generator=generator) + 0.5
    a = torch.relu(x @ torch.randn(D, F, generator=generator)) + 0.1 * torch.randn(
        T, F, generator=generator
    )
    x, a = quarters(x), quarters(a)
    norms = torch.rand(F, generator=generator) + 0.2
    moments = Moments.zeros(D, F)
    for start in range(0, T, 150):
        moments.add(x[start : start + 150], a[start : start + 150])
    return x, a, norms, moments


def fit_inputs(moments: Moments, down: Tensor) -> FitInputs:
    empty = torch.zeros(F, D)
    return FitInputs(moments, empty, empty, down, down.norm(dim=0))


def rounding(x: Tensor, projection: Tensor, expansion: Tensor, bias: Tensor) -> Tensor:
    """Largest error [T, n] of float32 b + V P x with factors that were rounded to float32: one
    rounding of 2^-24 per product, sum and factor."""
    sizes = x.abs().double() @ projection.abs().double().T @ expansion.abs().double().T
    roundings = projection.shape[1] + projection.shape[0] + 4
    return roundings * 2.0**-24 * (sizes + bias.abs().double())


def least_squares(x: Tensor, target: Tensor, ridge: float = 0.0) -> Tensor:
    """Fitted values [T, n] of the affine map that minimises the mean squared error plus `ridge`
    times the squared slopes, float64."""
    design = np.column_stack([x.double().numpy(), np.ones(T)])
    penalty = np.column_stack([np.sqrt(T * ridge) * np.eye(D), np.zeros(D)])
    wanted = np.vstack([target.double().numpy(), np.zeros((D, target.shape[1]))])
    solution = np.linalg.lstsq(np.vstack([design, penalty]), wanted, rcond=None)[0]
    return torch.from_numpy(design @ solution)


def mean_variance(x: Tensor) -> float:
    """Mean over the inputs of their variance, which a ridge is a multiple of."""
    return x.double().var(0, unbiased=False).mean().item()


def test_moments_are_those_of_all_tokens() -> None:
    x, a, _, moments = data()
    x, a = x.double(), a.double()
    assert moments.count == T
    assert torch.equal(moments.x, x.sum(0)) and torch.equal(moments.a, a.sum(0))
    assert torch.equal(moments.xx, x.T @ x) and torch.equal(moments.xa, x.T @ a)
    assert torch.equal(moments.aa, a.square().sum(0))


def test_full_rank_is_least_squares() -> None:
    x, a, norms, moments = data()
    state = fit_reduced_rank(moments, norms, D, ridge=0.0)
    error = (state.estimate(x) - least_squares(x, a)).abs()
    assert (error <= rounding(x, state.projection, state.activation_map, state.mean)).all()


def test_a_linear_activation_leaves_no_residual() -> None:
    x, _, norms, _ = data()
    a = x @ torch.randint(-3, 4, (D, F), generator=torch.Generator().manual_seed(3)).float() + 2
    moments = Moments.zeros(D, F)
    moments.add(x, a)
    state = fit_reduced_rank(moments, norms, D, ridge=0.0)
    allowed = rounding(x, state.projection, state.activation_map, state.mean) * norms
    assert (residual_energy(a, state.estimate(x), norms) <= allowed.square()).all()


@pytest.mark.parametrize("rank", [1, 4, 9])
def test_reduced_rank_is_the_best_of_its_rank(rank: int) -> None:
    x, a, norms, moments = data()
    mean = a.double().mean(0)
    full = (least_squares(x, a) - mean) * norms
    left, values, right = torch.linalg.svd(full, full_matrices=False)
    best = (left[:, :rank] * values[:rank]) @ right[:rank] / norms + mean
    state = fit_reduced_rank(moments, norms, rank, ridge=0.0)
    error = (state.estimate(x) - best).abs()
    assert (error <= rounding(x, state.projection, state.activation_map, state.mean)).all()


def test_weights_of_skipped_neurons_ramp_up_over_the_middle_half() -> None:
    energy = torch.tensor([8.0, 1.0, 4.0, 7.0, 2.0, 3.0, 6.0, 5.0])
    expected = torch.tensor([0.05, 1.0, 0.5, 0.05, 1.0, 0.75, 0.05, 0.25])
    torch.testing.assert_close(skip_weights(energy), expected)


def check_expected_energy(state: AffineState, ridge: float) -> None:
    """It is the mean residual energy plus the ridge's own term, since the features have unit
    variance with the ridge, not without: ridge |V P|^2 for each neuron."""
    x, a, norms, moments = data()
    x, a, squares = x.double(), a.double(), norms.double().square()
    slopes = state.activation_map.double() @ state.projection.double()
    residual = a - state.mean - x @ slopes.T
    penalty = ridge * mean_variance(x) * slopes.square().sum(1)
    expected = squares * (residual.square().mean(0) + penalty)
    # rounded factors: at most two roundings of 2^-24 in each of four terms below E a^2
    allowed = 2.0**-21 * squares * a.square().mean(0)
    assert ((state.expected_energy(moments, norms) - expected).abs() <= allowed).all()


def test_the_rank_is_spent_on_neurons_that_are_skipped() -> None:
    x, a, norms, moments = data()
    down = torch.zeros(D, F)
    down[0] = norms
    plain = fit_reduced_rank(moments, norms, 3)
    aware = Surrogate(rank=3).fit(fit_inputs(moments, down))
    skipped = plain.expected_energy(moments, norms).argsort()[: F // 2]
    left = [
        residual_energy(a, state.estimate(x), norms).mean(0)[skipped].sum()
        for state in (plain, aware)
    ]
    assert left[1] < left[0]
    check_expected_energy(aware, 1e-4)


def test_mean_and_none() -> None:
    x, a, norms, moments = data()
    inputs = fit_inputs(moments, torch.ones(D, F))
    bias = COMPENSATORS.make({"name": "bias"}).fit(inputs)
    torch.testing.assert_close(bias.estimate(x[:3]), a.mean(0).expand(3, F))
    none = COMPENSATORS.make({"name": "none"}).fit(inputs)
    assert not none.estimate(x).any()
    torch.testing.assert_close(
        none.expected_energy(moments, norms),
        residual_energy(a, 0 * a, norms).mean(0),
    )


@pytest.mark.parametrize("ridge", [0.0, 1e-4, 1e-2])
def test_the_expected_energy_of_a_surrogate_is_the_measured_one(ridge: float) -> None:
    _, _, norms, moments = data()
    check_expected_energy(fit_reduced_rank(moments, norms, 6, ridge), ridge)


def test_the_lowrank_map_is_least_squares_of_what_is_skipped() -> None:
    x, a, _, moments = data()
    down = torch.randn(D, F, generator=torch.Generator().manual_seed(5))
    kept = torch.arange(0, F, 2)
    method = COMPENSATORS.make({"name": "lowrank", "rank": D})
    inputs = fit_inputs(moments, down)
    output_map = method.refit(method.fit(inputs), inputs, kept).output_map
    assert output_map is not None
    target = a[:, 1::2].double() @ down[:, 1::2].double().T
    expected = least_squares(x, target, ridge=1e-4 * mean_variance(x))
    error = (output_map.of(x) - expected).abs()
    factors = (output_map.projection, output_map.expansion, output_map.bias)
    assert (error <= rounding(x, *factors)).all()


def test_the_estimate_of_skipped_neurons_is_added_for_all_dynamic_ones() -> None:
    x, _, norms, moments = data()
    state = fit_reduced_rank(moments, norms, 4)
    down = torch.randn(D, F, generator=torch.Generator().manual_seed(6))
    for hot in (0, 7, F):
        runtime = state.runtime(down.T.contiguous(), hot, torch.relu)
        y = runtime.add_skipped(torch.zeros(T, D), x, runtime.features(x), [], 1)
        expected = state.estimate(x)[:, hot:].double() @ down[:, hot:].double().T
        sizes = rounding(x, state.projection, state.activation_map[hot:], state.mean[hot:])
        # the sum over neurons adds F roundings to those of the estimate
        assert ((y - expected).abs() <= F * sizes @ down[:, hot:].abs().double().T).all()


@pytest.mark.parametrize("rank", [0, D + 1])
def test_a_rank_outside_the_width_is_refused(rank: int) -> None:
    _, _, norms, moments = data()
    with pytest.raises(ValueError, match=f"compensator.rank: {rank} is not in 1..{D}"):
        fit_reduced_rank(moments, norms, rank)


def test_nothing_collected_is_refused() -> None:
    with pytest.raises(ValueError, match="no calibration tokens"):
        fit_reduced_rank(Moments.zeros(D, F), torch.ones(F), 2)


def test_a_state_survives_its_file_and_a_permutation() -> None:
    x, _, norms, moments = data()
    state = fit_reduced_rank(moments, norms, 4)
    order = torch.randperm(F, generator=torch.Generator().manual_seed(2))
    again = AffineState.from_tensors(state.tensors())
    assert torch.equal(again.estimate(x), state.estimate(x))
    torch.testing.assert_close(state.permuted(order).estimate(x), state.estimate(x)[:, order])
