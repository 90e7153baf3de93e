"""The metric of output errors: its parts by hand, and fits that follow it."""

import pytest
import torch

from ffbench.methods import linalg
from ffbench.methods.linalg import Moments
from ffbench.training.answer_metric import FLOOR, MIX, combined_metric, neuron_importance
from ffbench.training.output_map import fit_output_map


def random_metric(d: int, seed: int) -> torch.Tensor:
    rows = torch.randn(3 * d, d, generator=torch.Generator().manual_seed(seed))
    return (rows * torch.linspace(0.05, 3, d)).T @ (rows * torch.linspace(0.05, 3, d)) / (3 * d)


def test_objectives_are_scaled_weighted_and_floored() -> None:
    fisher = {"a": torch.stack([torch.eye(3), torch.zeros(3, 3)]), "b": 6 * torch.ones(2, 3, 3)}
    metric = combined_metric(fisher, {"a": 2.0, "b": 3.0}, {"a": 1.0, "b": 3.0})
    expected = torch.stack([torch.eye(3) / 8 + 1.5, torch.full((3, 3), 1.5)])
    floor = FLOOR * (1 / 8 + 1.5)
    extra = torch.tensor([MIX * (1 / 8 + 1.5) + floor, MIX * 1.5 + floor])
    torch.testing.assert_close(metric, expected + extra[:, None, None] * torch.eye(3))


def test_a_layer_that_no_answer_reads_counts_all_directions_alike() -> None:
    fisher = {"a": torch.stack([random_metric(4, 0), torch.zeros(4, 4)])}
    metric = combined_metric(fisher, {"a": 1.0}, {"a": 1.0})
    down = torch.randn(4, 9, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(neuron_importance(metric[1], down), torch.ones(9))


def test_importance_is_the_weight_of_a_column_over_its_length() -> None:
    metric, down = random_metric(5, 2), torch.randn(5, 7)
    weight = torch.stack([column @ metric @ column / (column @ column) for column in down.T])
    torch.testing.assert_close(neuron_importance(metric, down), weight / weight.mean())


def test_an_output_map_is_best_in_its_metric() -> None:
    d, n, rank = 8, 4000, 2
    g = torch.Generator().manual_seed(4)
    x = torch.randn(n, d, generator=g)
    missing = x @ torch.randn(d, d, generator=g) + 0.1 * torch.randn(n, d, generator=g)
    moments = Moments.zeros(d, d)
    moments.add(x, missing)
    metric = random_metric(d, 5)
    plain, by_metric = fit_output_map(moments, rank), fit_output_map(moments, rank, metric=metric)

    def cost(weights: torch.Tensor, of: object) -> float:
        error = missing - of.of(x)  # type: ignore[attr-defined]
        return float((error @ weights * error).sum() / n)

    assert cost(metric, by_metric) < 0.98 * cost(metric, plain)
    assert cost(torch.eye(d), plain) < cost(torch.eye(d), by_metric)
    whole = fit_output_map(moments, d, metric=metric)
    torch.testing.assert_close(
        whole.expansion @ whole.projection,
        fit_output_map(moments, d).expansion @ fit_output_map(moments, d).projection,
        atol=1e-3,
        rtol=1e-3,
    )


def test_an_output_map_in_a_metric_is_least_squares_between_roots() -> None:
    """Against a symmetric root by the full decomposition: reduced-rank regression of R e, mapped back
    by R^-1.
    """
    d, n, rank = 8, 500, 3
    g = torch.Generator().manual_seed(6)
    x = torch.randn(n, d, generator=g).double()
    missing = x @ torch.randn(d, d, generator=g).double()
    missing = missing + torch.randn(n, d, generator=g).double()
    metric = random_metric(d, 7).double()
    values, vectors = torch.linalg.eigh(metric)
    root = (vectors * values.sqrt()) @ vectors.T
    whole = torch.linalg.lstsq(x, missing @ root).solution
    directions = torch.linalg.svd(x @ whole).Vh[:rank]
    expected = whole @ directions.T @ directions @ torch.linalg.inv(root)
    moments = Moments.zeros(d, d)
    for sign in (1, -1):  # means of zero: no bias
        moments.add(sign * x, sign * missing)
    found = fit_output_map(moments, rank, ridge=1e-9, metric=metric.float())
    made = (found.expansion @ found.projection).T
    torch.testing.assert_close(made, expected.float(), atol=1e-4, rtol=1e-3)


def test_a_wide_layer_needs_no_full_decomposition(monkeypatch: pytest.MonkeyPatch) -> None:
    d, n, rank = 80, 400, 4
    g = torch.Generator().manual_seed(9)
    x, errors = (torch.randn(n, d, generator=g) for _ in range(2))
    missing = x @ torch.randn(d, d, generator=g) + errors
    moments, metric = Moments.zeros(d, d), random_metric(d, 10)
    moments.add(x, missing)

    def cost() -> float:
        error = missing - fit_output_map(moments, rank, metric=metric).of(x)
        return float((error @ metric * error).sum())

    full = cost()
    monkeypatch.setattr(linalg, "WIDE", d - 1)
    monkeypatch.setattr(torch.linalg, "eigh", lambda *_: pytest.fail("a full decomposition"))
    assert cost() < 1.01 * full


def test_combined_metrics_are_positive_definite() -> None:
    """Also of fewer gradients than outputs, and of layers that no answer reads."""
    d = 256
    rows = torch.randn(3, d, generator=torch.Generator().manual_seed(8))
    rows[0] *= 1e3
    fisher = {"a": torch.stack([rows.T @ rows, torch.zeros(d, d)])}
    metric = combined_metric(fisher, {"a": 1.0}, {"a": 1.0})
    assert torch.isfinite(torch.linalg.cholesky(metric.double())).all()
