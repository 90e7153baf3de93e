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


def data(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Moments]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(T, D, generator=generator) @ torch.randn(D, D, generator=generator) + 0.5
    a = torch.relu(x @ torch.randn(D, F, generator=generator)) + 0.1 * torch.randn(
        T, F, generator=generator
    )
    norms = torch.rand(F, generator=generator) + 0.2
    moments = Moments.zeros(D, F)
    for start in range(0, T, 150):
        moments.add(x[start : start + 150], a[start : start + 150])
    return x, a, norms, moments


def fit_inputs(moments: Moments, down: Tensor) -> FitInputs:
    empty = torch.zeros(F, D)
    return FitInputs(moments, empty, empty, down, down.norm(dim=0))


def test_moments_are_those_of_all_tokens() -> None:
    x, a, _, moments = data()
    assert moments.count == T
    torch.testing.assert_close(moments.xx.float(), x.T @ x, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(moments.xa.float(), x.T @ a, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(moments.aa.float(), a.square().sum(0), rtol=1e-4, atol=1e-3)


def test_full_rank_is_least_squares() -> None:
    x, a, norms, moments = data()
    estimate = fit_reduced_rank(moments, norms, D, ridge=1e-9).estimate(x)
    design = np.column_stack([x.double().numpy(), np.ones(T)])
    expected = design @ np.linalg.lstsq(design, a.double().numpy(), rcond=None)[0]
    np.testing.assert_allclose(estimate.numpy(), expected, atol=2e-3)


def test_a_linear_activation_leaves_no_residual() -> None:
    x, _, norms, _ = data()
    a = x @ torch.randn(D, F, generator=torch.Generator().manual_seed(3)) + 2
    moments = Moments.zeros(D, F)
    moments.add(x, a)
    estimate = fit_reduced_rank(moments, norms, D, ridge=1e-10).estimate(x)
    assert residual_energy(a, estimate, norms).max() < 1e-5 * residual_energy(a, 0 * a, norms).max()


@pytest.mark.parametrize("rank", [1, 4, 9])
def test_reduced_rank_is_the_best_of_its_rank(rank: int) -> None:
    x, a, norms, moments = data()
    weighted = (a - a.mean(0)) * norms
    fitted = (fit_reduced_rank(moments, norms, rank, ridge=1e-9).estimate(x) - a.mean(0)) * norms
    centred = (x - x.mean(0)).double().numpy()
    full = centred @ np.linalg.lstsq(centred, weighted.double().numpy(), rcond=None)[0]
    left, values, right = np.linalg.svd(full, full_matrices=False)
    best = (left[:, :rank] * values[:rank]) @ right[:rank]
    loss = float((weighted - fitted).square().sum())
    assert loss == pytest.approx(float(((weighted.double().numpy() - best) ** 2).sum()), rel=1e-3)


def test_weights_of_skipped_neurons_ramp_up_over_the_middle_half() -> None:
    energy = torch.tensor([8.0, 1.0, 4.0, 7.0, 2.0, 3.0, 6.0, 5.0])
    expected = torch.tensor([0.05, 1.0, 0.5, 0.05, 1.0, 0.75, 0.05, 0.25])
    torch.testing.assert_close(skip_weights(energy), expected)


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
    measured = residual_energy(a, aware.estimate(x), norms).mean(0)
    torch.testing.assert_close(
        aware.expected_energy(moments, norms), measured, rtol=2e-2, atol=1e-3
    )


def test_mean_and_none() -> None:
    x, a, norms, moments = data()
    inputs = fit_inputs(moments, torch.ones(D, F))
    bias = COMPENSATORS.make({"name": "bias"}).fit(inputs)
    torch.testing.assert_close(bias.estimate(x[:3]), a.mean(0).expand(3, F), rtol=1e-4, atol=1e-4)
    none = COMPENSATORS.make({"name": "none"}).fit(inputs)
    assert not none.estimate(x).any()
    torch.testing.assert_close(
        none.expected_energy(moments, norms),
        residual_energy(a, 0 * a, norms).mean(0),
        rtol=1e-3,
        atol=1e-5,
    )


def test_the_scale_of_a_surrogates_residual_is_near_the_measured_one() -> None:
    x, a, norms, moments = data()
    surrogate = fit_reduced_rank(moments, norms, 6, ridge=1e-9)
    measured = residual_energy(a, surrogate.estimate(x), norms).mean(0)
    torch.testing.assert_close(
        surrogate.expected_energy(moments, norms), measured, rtol=2e-2, atol=1e-3
    )


def test_the_lowrank_map_is_least_squares_of_what_is_skipped() -> None:
    x, a, _, moments = data()
    down = torch.randn(D, F, generator=torch.Generator().manual_seed(5))
    kept = torch.arange(0, F, 2)
    method = COMPENSATORS.make({"name": "lowrank", "rank": D})
    inputs = fit_inputs(moments, down)
    output_map = method.refit(method.fit(inputs), inputs, kept).output_map
    assert output_map is not None
    target = (a[:, 1::2] @ down[:, 1::2].T).double().numpy()
    design = np.column_stack([x.double().numpy(), np.ones(T)])
    expected = design @ np.linalg.lstsq(design, target, rcond=None)[0]
    # the ridge of the closed form leaves a thousandth
    error = np.abs(output_map.of(x).numpy() - expected).max()
    assert error < 2e-2 * np.abs(expected).max()


def test_the_estimate_of_skipped_neurons_is_added_for_all_dynamic_ones() -> None:
    x, _, norms, moments = data()
    state = fit_reduced_rank(moments, norms, 4)
    down = torch.randn(D, F, generator=torch.Generator().manual_seed(6))
    for hot in (0, 7, F):
        runtime = state.runtime(down.T.contiguous(), hot, torch.relu)
        y = runtime.add_skipped(torch.zeros(T, D), x, runtime.features(x), [], 1)
        expected = state.estimate(x)[:, hot:] @ down[:, hot:].T
        torch.testing.assert_close(y, expected, rtol=1e-3, atol=1e-3)


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
