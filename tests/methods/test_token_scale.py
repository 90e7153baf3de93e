"""Tokens sorted by a predicted scale: the regression and the order against numpy."""

from types import SimpleNamespace

import numpy as np
import torch

from ffbench.methods.similar_blocks import SPAN, sorted_order
from ffbench.methods.token_scale import (
    LEAST,
    RIDGE,
    ScaleSums,
    fit_scale,
    scale_features,
    token_scale,
)


def test_the_regression_is_ridge_on_standardised_features() -> None:
    g = torch.Generator().manual_seed(0)
    x, z = torch.randn(400, 5, generator=g), torch.randn(400, 3, generator=g)
    energy = torch.rand(400, generator=g) * 3
    features = scale_features(x, z)
    expected = np.concatenate(
        [x, z.square(), np.log(x.square().sum(1, keepdim=True).numpy())], axis=1
    )
    np.testing.assert_allclose(features.numpy(), expected, rtol=1e-5, atol=1e-6)
    sums = ScaleSums.zeros(features.shape[1], features.device)
    for start in range(0, 400, 150):  # the last part is short
        sums.add(features[start : start + 150], energy[start : start + 150])
    fitted = fit_scale(sums, 5)
    wide = features.double().numpy()
    standard = (wide - wide.mean(0)) / wide.std(0)
    target = energy.double().numpy()
    gram = standard.T @ standard / 400 + RIDGE * np.eye(wide.shape[1])
    slope = np.linalg.solve(gram, standard.T @ (target - target.mean()) / 400) / wide.std(0)
    names = ("scale_linear", "scale_square", "scale_log")
    np.testing.assert_allclose(torch.cat([fitted[n] for n in names]), slope, rtol=1e-4, atol=1e-6)
    bias = target.mean() - slope @ wide.mean(0)
    np.testing.assert_allclose(fitted["scale_bias"].item(), bias, rtol=1e-4)


def test_the_scale_is_the_regression_on_the_features() -> None:
    g = torch.Generator().manual_seed(2)
    x, z = torch.randn(50, 6, generator=g), torch.randn(50, 4, generator=g)
    fitted = {
        "scale_linear": torch.randn(6, generator=g),
        "scale_square": torch.randn(4, generator=g),
        "scale_log": torch.randn(1, generator=g),
        "scale_bias": torch.tensor([3.0]),
    }
    weights = torch.cat([fitted[n] for n in ("scale_linear", "scale_square", "scale_log")])
    expected = (scale_features(x, z) @ weights + 3.0).clamp_min(LEAST)
    layer = SimpleNamespace(statistics=fitted)
    torch.testing.assert_close(token_scale(layer, x, z), expected, rtol=1e-5, atol=1e-5)


def test_tokens_are_sorted_within_a_span_only() -> None:
    scale = torch.rand(SPAN + 100, generator=torch.Generator().manual_seed(1))
    order = sorted_order(scale, 128)
    assert torch.equal(order.sort().values, torch.arange(len(scale)))
    first, second = order[:SPAN], order[SPAN:]
    assert first.max() < SPAN <= second.min()
    assert (scale[first].diff() <= 0).all() and (scale[second].diff() <= 0).all()
