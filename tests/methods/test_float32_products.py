"""Products by oneDNN against float64, and which products are left to torch."""

from typing import Any

import pytest
import torch
from onednn_calls import counted_products, needs_onednn
from torch import Tensor
from torch.nn import functional

from ffbench.methods import float32_products
from ffbench.methods.float32_products import linear, onednn_is_faster, processor_vendor


@pytest.fixture
def by_onednn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Products that reached oneDNN."""
    return counted_products(monkeypatch)


def rounding(x: Tensor, weight: Tensor) -> Tensor:
    """Bound of a float32 product's error: (d + 1) unit roundoffs of the product of magnitudes."""
    d = x.shape[-1]
    return (d + 1) * 2.0**-24 * (x.abs().double() @ weight.abs().double().T)


INPUTS = {
    "rows": torch.randn(7, 33),
    "one vector": torch.randn(33),
    "batch": torch.randn(2, 5, 33),
    "no token": torch.randn(1, 0, 33),
    "part of a batch": torch.randn(3, 9, 33)[:, 2:7],
    "transposed": torch.randn(33, 9).T,
    "columns": torch.randn(9, 70)[:, 3:36],
    "every other column": torch.randn(9, 66)[:, ::2],
    "repeated": torch.randn(1, 1, 33).expand(2, 4, 33),
}
WEIGHTS = {
    "plain": torch.randn(21, 33),
    "rows of a larger one": torch.randn(60, 33)[17:38],
    "transposed": torch.randn(33, 21).T,
    "part of a wider one": torch.randn(21, 64)[:, :33],
    "part of a wider one, transposed": torch.randn(33, 64)[:, :21].T,
    "every other row": torch.randn(42, 33)[::2],
}


@needs_onednn
@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("x", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("with_bias", [False, True])
def test_equals_a_float64_product(
    by_onednn: list[Any], x: Tensor, weight: Tensor, with_bias: bool
) -> None:
    bias = torch.randn(len(weight)) if with_bias else None
    y = linear(x, weight, bias)
    expected = functional.linear(x.double(), weight.double(), bias.double() if with_bias else None)
    assert by_onednn and y.shape == expected.shape and y.dtype == torch.float32
    allowed = rounding(x, weight) + 2.0**-24 * (expected.abs() + (bias.abs() if with_bias else 0))
    assert ((y - expected).abs() <= allowed).all()


@needs_onednn
@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
def test_onednn_gets_no_part_of_a_wider_weight(
    monkeypatch: pytest.MonkeyPatch, weight: Tensor
) -> None:
    """It would take a thousand times as long, by its reference code."""
    given = []
    product = torch.ops.mkldnn._linear_pointwise

    def seen(x: Tensor, weight: Tensor, *rest: Any) -> Tensor:
        given.append(weight)
        return product(x, weight, *rest)

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", seen)
    float32_products.onednn_linear(torch.randn(5, 33), weight, None)
    assert given[0].is_contiguous() or given[0].T.is_contiguous()


@needs_onednn
def test_gradient_of_the_input(by_onednn: list[Any]) -> None:
    x, weight, bias = torch.randn(5, 33, requires_grad=True), torch.randn(21, 33), torch.randn(21)
    down = torch.randn(5, 21)
    linear(x, weight, bias).backward(down)
    assert len(by_onednn) == 2  # forward and backward
    expected = down.double() @ weight.double()
    assert ((x.grad - expected).abs() <= rounding(down, weight.T)).all()


@needs_onednn
def test_gradients_of_weights_are_torchs(by_onednn: list[Any]) -> None:
    x, weight = torch.randn(5, 33), torch.randn(21, 33, requires_grad=True)
    linear(x, weight).sum().backward()
    assert not by_onednn
    torch.testing.assert_close(weight.grad, x.sum(0).expand(21, 33))


@pytest.mark.parametrize(("outputs", "inputs"), [(0, 33), (21, 0), (0, 0)])
def test_empty_weights_are_torchs(by_onednn: list[Any], outputs: int, inputs: int) -> None:
    bias = torch.randn(outputs)
    y = linear(torch.randn(5, inputs), torch.randn(outputs, inputs), bias)
    assert y.shape == (5, outputs) and not by_onednn
    if not inputs:
        assert torch.equal(y, bias.expand(5, outputs))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_are_torchs(by_onednn: list[Any], dtype: torch.dtype) -> None:
    x, weight = torch.randn(5, 33, dtype=dtype), torch.randn(21, 33, dtype=dtype)
    assert torch.equal(linear(x, weight), functional.linear(x, weight))
    assert not by_onednn


def test_autocast_is_torchs(by_onednn: list[Any]) -> None:
    x, weight = torch.randn(5, 33), torch.randn(21, 33)
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight).dtype == torch.bfloat16
    assert not by_onednn


def test_other_devices_are_torchs(by_onednn: list[Any]) -> None:
    x, weight = torch.randn(5, 33, device="meta"), torch.randn(21, 33, device="meta")
    assert linear(x, weight).shape == (5, 21)
    assert not by_onednn


@pytest.mark.parametrize(
    ("vendor", "instructions", "chosen"),
    [
        ("AuthenticAMD", "AVX512", True),
        ("AuthenticAMD", "AVX2", False),
        ("GenuineIntel", "AVX512", False),
        (None, "AVX512", False),
        (None, "DEFAULT", False),
    ],
)
@needs_onednn
def test_chosen_by_vendor_and_instruction_set(
    monkeypatch: pytest.MonkeyPatch, vendor: str | None, instructions: str, chosen: bool
) -> None:
    monkeypatch.setattr(float32_products, "processor_vendor", lambda: vendor)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: instructions)
    assert onednn_is_faster() is chosen
    monkeypatch.setattr(torch._C, "_get_mkldnn_enabled", lambda: False)
    assert not onednn_is_faster()


def test_vendor_from_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = iter(["vendor_id\t: AuthenticAMD\nflags\t: avx2\n", "processor : 0\n"])
    monkeypatch.setattr(float32_products.Path, "read_text", lambda *args, **kwargs: next(texts))
    try:
        for expected in ("AuthenticAMD", None):
            processor_vendor.cache_clear()
            assert processor_vendor() == expected
    finally:
        processor_vendor.cache_clear()
