"""int8 weights: every instruction set against float64 with an error bound from the rounding steps."""

import os
from collections.abc import Iterator
from unittest import mock

import ffk_cases
import pytest
import torch
from torch import Tensor

import ffkernels
from ffkernels import int8, native
from ffkernels.native import instruction_sets

SLOPE = 1.13  # largest |act'|: gelu 1.129, silu 1.100, relu 1
HERE = [name for name in instruction_sets.INT8_SETS if name in instruction_sets.available()]
needs_native = pytest.mark.skipif(
    native.unavailable() is not None, reason=f"no native backend: {native.unavailable()}"
)


def quantized(args: dict, activation: str = "silu") -> dict:
    """Arguments of the int8 call from those of the float one."""
    weights = int8.quantize(*(args[n] for n in ("w_gate", "w_up", "w_down_t")), args.get("v"))
    names = ("x", "indices", "block_size", "offsets", "hot", "z", "c", "group")
    return {n: args[n] for n in names if n in args} | {
        "weights": weights,
        "activation": activation,
    }


def wide(rows: int8.Int8Rows) -> Tensor:
    return rows.values.double() * rows.scales.double()[:, None]


def exact_and_bound(args: dict) -> tuple[Tensor, Tensor]:
    """y in float64 from the int8 weights and exact activations, and the most that rounding the
    activations to int8 can change it: half a step of x and z, half a step of h, passed on through
    the products."""
    w, x, act = args["weights"], args["x"].double(), ffk_cases.ACTS[args["activation"]]
    float_args = {n: args[n] for n in args if n not in ("weights", "activation")}
    kept = [
        torch.cat([torch.arange(args["hot"]), row.long()])
        for row in ffk_cases.kept_by_block(float_args)
    ]
    y, bound = torch.zeros(x.shape, dtype=torch.float64), torch.zeros(x.shape, dtype=torch.float64)
    half_x = x.abs().amax(1, keepdim=True) / 127 / 2
    for b, neurons in enumerate(kept):
        rows = slice(b * args["block_size"], (b + 1) * args["block_size"])
        gate, up, down = (wide(m)[neurons] for m in (w.gate, w.up, w.down_t))
        g, u = x[rows] @ gate.T, x[rows] @ up.T
        g_error, u_error = (half_x[rows] * m.abs().sum(1) for m in (gate, up))
        h = act(g) * u
        error = SLOPE * g_error * (u.abs() + u_error) + act(g).abs() * u_error
        dynamic = (torch.arange(len(neurons)) >= args["hot"]).double()
        if w.v is not None:
            z, v = args["z"][rows].double(), wide(w.v)[neurons]
            h = h - z @ v.T * dynamic
            half_z = z.abs().amax(1, keepdim=True) / 127 / 2
            error = error + half_z * v.abs().sum(1) * dynamic
        if args.get("c") is not None:
            h = h - args["c"].double()[neurons] * dynamic
        y[rows] = h @ down
        if not len(neurons):
            continue
        # A step of h is at most its largest magnitude over 127, scaled by the down row.
        scale = w.down_t.scales.double()[neurons]
        half_h = ((h.abs() + error) * scale).amax(1, keepdim=True) / 127 / 2
        bound[rows] = (error * scale + half_h) @ w.down_t.values[neurons].double().abs()
        bound[rows] += 1e-5 * (h.abs() @ down.abs())  # float32 arithmetic around the products
    return y, bound


def results(args: dict) -> Iterator[tuple[str, Tensor]]:
    for name in HERE:
        with mock.patch.dict(os.environ, {instruction_sets.VARIABLE: name}):
            yield name, ffkernels.sparse_gated_ffn_int8(**args, backend="native")


def check(args: dict) -> None:
    exact, bound = exact_and_bound(args)
    for name, got in results(args):
        assert got.shape == exact.shape and got.dtype == args["x"].dtype
        error = (got.double() - exact).abs()
        assert bool((error <= bound).all()), f"{name}: {(error - bound).max():.3g} above the bound"
        if exact.numel() and bool(exact.any()):
            # Rounding errors are random: their norm is far below the worst case.
            assert error.norm() <= 0.1 * exact.norm() + 1e-12, name
    for backend in ("torch", "reference"):
        got = ffkernels.sparse_gated_ffn_int8(**args, backend=backend).double()
        assert (got - exact).abs().max().item() <= 1e-4 if exact.numel() else True


SHAPES = [  # tokens, d, f, block, K, hot
    (37, 24, 50, 8, 13, 0),
    (5, 24, 50, 8, 13, 3),
    (37, 24, 50, 8, 0, 0),
    (37, 24, 50, 8, 0, 20),
    (37, 24, 50, 8, 40, 10),
    (37, 24, 50, 8, 50, 0),
    (1, 7, 9, 1, 3, 1),
    (70, 33, 301, 32, 129, 50),
    (0, 24, 50, 8, 13, 10),
    (33, 64, 210, 256, 100, 3),
    (129, 130, 700, 128, 350, 0),
    (300, 64, 300, 300, 280, 0),
]


@needs_native
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(shape: tuple[int, ...]) -> None:
    tokens, d, f, block, k, hot = shape
    check(quantized(ffk_cases.make(tokens, d, f, block, k, hot=hot)))


@needs_native
@pytest.mark.parametrize(("rank", "bias"), [(6, True), (6, False), (0, True), (70, True)])
def test_correction(rank: int, bias: bool) -> None:
    check(quantized(ffk_cases.make(70, 33, 301, 32, 129, hot=50, rank=rank, bias=bias)))


@needs_native
@pytest.mark.parametrize("activation", ["silu", "gelu_tanh", "gelu", "relu"])
def test_activations(activation: str) -> None:
    check(quantized(ffk_cases.make(37, 24, 200, 8, 83, hot=20), activation))


@needs_native
def test_several_passes_over_inputs_neurons_and_columns() -> None:
    args = ffk_cases.make(45, 1100, 640, 45, 0, hot=32, rank=64, bias=True)
    groups = torch.randperm(19)[:16].sort()[0] + 1
    args["indices"] = (groups[:, None] * 32 + torch.arange(32)).view(1, -1)
    check(quantized(args | {"group": 32}))
    check(quantized(args))


@needs_native
def test_a_number_of_neurons_per_block() -> None:
    check(quantized(ffk_cases.make_ragged([13, 50, 0, 1, 50], 8, 24, 50, short=3, rank=4)))
    check(quantized(ffk_cases.make_ragged([130, 300, 0], 40, 64, 320, hot=20, bias=True)))


@needs_native
def test_half_precision_inputs_and_strides() -> None:
    args = quantized(ffk_cases.make(37, 24, 50, 8, 13, hot=10))
    expected = ffkernels.sparse_gated_ffn_int8(**args | {"x": args["x"].bfloat16().float()})
    half = args | {"x": args["x"].bfloat16().T.contiguous().T}
    assert torch.equal(ffkernels.sparse_gated_ffn_int8(**half), expected.bfloat16())


@needs_native
def test_tokens_of_zeros_and_weights_of_zeros() -> None:
    float_args = ffk_cases.make(37, 24, 50, 8, 13, hot=10)
    float_args["x"][3] = 0
    float_args["w_gate"][5] = 0
    args = quantized(float_args)
    check(args)
    for _, got in results(args):
        assert not got[3].any()


@needs_native
def test_instruction_sets_agree() -> None:
    """Integer sums are exact; a value of h that falls on a tie may be rounded either way."""
    args = quantized(ffk_cases.make(300, 200, 700, 128, 350, hot=60, rank=40, bias=True))
    (_, first), *others = results(args)
    for name, got in others:
        difference = (got - first).abs()
        assert difference.median() <= 1e-6 * first.abs().max(), name
        assert difference.max() <= 1e-2 * first.abs().max(), name


@pytest.mark.skipif("amx_int8" not in HERE, reason="no AMX with int8 here")
def test_the_tiles_of_this_processor_equal_the_emulated_ones() -> None:
    args = quantized(ffk_cases.make(300, 200, 700, 128, 350, hot=60))
    got = dict(results(args))
    torch.testing.assert_close(got["amx_int8"], got["amx_int8_emulated"], rtol=0, atol=1e-6)


def predicted_variance(args: dict) -> Tensor:
    """Variance of y [T, d] if each rounding error is uniform on half a step to either side.

    silu, one block and one pass over the neurons (at most 256), no correction. Errors of x reach y
    through the derivative of the FFN, errors of h through the down product."""
    w, x = args["weights"], args["x"].double()
    kept = args["indices"][0].long()
    gate, up, down = (wide(m)[kept] for m in (w.gate, w.up, w.down_t))
    g, u = x @ gate.T, x @ up.T
    sigmoid = torch.sigmoid(g)
    slope = sigmoid * (1 + g * (1 - sigmoid))
    h = g * sigmoid * u * w.down_t.scales.double()[kept]
    x_step, h_step = x.abs().amax(1) / 127, h.abs().amax(1) / 127
    variance = torch.empty(x.shape, dtype=torch.float64)
    for t in range(len(x)):
        of_inputs = (slope[t] * u[t])[:, None] * gate + (g * sigmoid)[t][:, None] * up
        jacobian = of_inputs.T @ down
        variance[t] = x_step[t] ** 2 / 12 * jacobian.square().sum(0)
        values = w.down_t.values[kept].double()
        variance[t] += h_step[t] ** 2 / 12 * values.square().sum(0)
    return variance


@needs_native
def test_the_error_is_what_rounding_predicts() -> None:
    """The worst case is far above typical errors; their size is predicted to a few percent."""
    args = quantized(ffk_cases.make(96, 130, 500, 96, 250))
    exact, _ = exact_and_bound(args)
    expected = predicted_variance(args).sum().sqrt()
    for name, got in results(args):
        ratio = float((got.double() - exact).norm() / expected)
        assert 0.95 <= ratio <= 1.05, f"{name}: {ratio:.3f}"


@needs_native
def test_dense_is_every_neuron_hot() -> None:
    args = quantized(ffk_cases.make(37, 24, 50, 8, 0, hot=50))
    dense = ffkernels.dense_gated_ffn_int8(args["x"], args["weights"])
    assert torch.equal(dense, ffkernels.sparse_gated_ffn_int8(**args))


def test_rows_are_rounded_to_half_a_step() -> None:
    w = torch.randn(9, 40)
    w[4] = 0
    rows = int8.quantize_rows(w)
    assert (rows.dequantized() - w).abs().max() <= rows.scales.max() / 2 * 1.0001
    assert rows.values.abs().max() == 127 and not rows.values[4].any()


def test_the_fastest_set_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(instruction_sets.VARIABLE, raising=False)
    monkeypatch.setattr(instruction_sets, "agrees", lambda name: name != "amx_int8")
    monkeypatch.setattr(instruction_sets, "available", lambda: list(instruction_sets.NAMES))
    assert native.instruction_set(torch.int8) == "avx512_vnni"
    monkeypatch.setattr(instruction_sets, "available", lambda: ["avx2", "avx2_int8"])
    assert native.instruction_set(torch.int8) == "avx2_int8"
    monkeypatch.setenv(instruction_sets.VARIABLE, "avx2")
    assert native.instruction_set(torch.int8) == "avx2_int8", "a float set does not serve int8"


GOOD = torch.ones(3, 4, dtype=torch.int8)


@pytest.mark.parametrize(
    ("values", "scales", "error", "text"),
    [
        (GOOD.int(), torch.ones(3), TypeError, "values: expected dtype torch.int8"),
        (GOOD, torch.ones(3).double(), TypeError, "scales: expected dtype torch.float32"),
        (GOOD, torch.ones(4), ValueError, "scales: expected 3 factors, received 4"),
        (GOOD * -128, torch.ones(3), ValueError, "expected -127 to 127, received -128"),
        (GOOD[0], torch.ones(3), ValueError, "values: expected 2 dimensions"),
    ],
)
def test_bad_rows_are_refused(values: Tensor, scales: Tensor, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        int8.Int8Rows(values, scales)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"backend": "triton"}, "backend: expected auto, native, torch, reference for int8"),
        ({"hot": 51}, "hot: expected 0 to 50, received 51"),
        ({"z": torch.ones(37, 4)}, "v: expected a tensor because z is given"),
        ({"activation": "swish"}, "activation: expected one of silu"),
        ({"indices": torch.ones(5, 13, dtype=torch.int64)}, "indices: expected values in"),
    ],
)
def test_bad_arguments_are_refused(change: dict, text: str) -> None:
    args = quantized(ffk_cases.make(37, 24, 50, 8, 13, hot=10))
    with pytest.raises(ValueError, match=text):
        ffkernels.sparse_gated_ffn_int8(**args | change)
