"""Products that reach oneDNN, on whatever processor the tests run."""

from types import ModuleType

import pytest
import torch

from ffbench.methods import float32_products

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN"
)
Shape = tuple[int, ...]


def counted_products(
    monkeypatch: pytest.MonkeyPatch, *users: ModuleType
) -> list[tuple[Shape, Shape]]:
    """Let oneDNN count as faster for `float32_products` and the modules that ask it; the shapes of
    inputs and weights of every product that it then computes.
    """
    seen: list[tuple[Shape, Shape]] = []
    product = float32_products.onednn_linear

    def counted(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        seen.append((tuple(x.shape), tuple(weight.shape)))
        return product(x, weight, bias)

    for module in (float32_products, *users):
        monkeypatch.setattr(module, "onednn_is_faster", lambda: True)
    monkeypatch.setattr(float32_products, "onednn_linear", counted)
    return seen
