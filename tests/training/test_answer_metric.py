"""The metric of output errors: its parts by hand, and fits that follow it."""

import torch

from ffbench.methods.linalg import Moments
from ffbench.training.answer_metric import FLOOR, MIX, combined_metric, neuron_importance, roots
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


def test_roots_of_a_metric() -> None:
    metric = random_metric(6, 3)
    root, inverse = roots(metric)
    torch.testing.assert_close((root @ root).float(), metric)
    torch.testing.assert_close(root @ inverse, torch.eye(6, dtype=torch.float64))


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
