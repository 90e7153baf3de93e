"""The registered torch operator: torch.compile without a graph break, fake tensors, torch's own
checks."""

import ffk_cases
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import ffkernels
from ffkernels.op import sparse_op

ARGS = ffk_cases.make(37, 24, 50, 8, 13, hot=10, rank=4, bias=True, extra=7)
TENSORS = {name: value for name, value in ARGS.items() if isinstance(value, torch.Tensor)}


def call(tensors: dict[str, torch.Tensor], backend: str = "torch") -> torch.Tensor:
    return ffkernels.sparse_gated_ffn(**tensors, block_size=8, hot=10, backend=backend)


def test_compiles_as_one_graph() -> None:
    compiled = torch.compile(lambda tensors: call(tensors) * 2, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(TENSORS), call(TENSORS) * 2)


def test_compiles_with_dynamic_lengths() -> None:
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager", dynamic=True)
    for tokens in (37, 61):
        args = ffk_cases.make(tokens, 24, 50, 8, 13, hot=10, rank=4, bias=True)
        tensors = {name: value for name, value in args.items() if isinstance(value, torch.Tensor)}
        assert torch.equal(compiled(tensors), call(tensors))


def test_index_values_are_checked_inside_a_compiled_graph() -> None:
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    with pytest.raises(ValueError, match="indices: expected the entries of each block sorted"):
        compiled({**TENSORS, "indices": ARGS["indices"].flip(1)})


def test_groups_compile_and_are_checked_inside_the_graph() -> None:
    args = ffk_cases.make(37, 24, 64, 8, 16, hot=16)
    whole = {**args, "indices": torch.arange(24, 40).repeat(5, 1)}
    compiled = torch.compile(
        lambda a: ffkernels.sparse_gated_ffn(**a, group=8, backend="torch"),
        fullgraph=True,
        backend="aot_eager",
    )
    assert torch.equal(compiled(whole), ffkernels.sparse_gated_ffn(**whole, backend="torch"))
    with pytest.raises(ValueError, match="whole groups of 8"):
        compiled({**whole, "indices": whole["indices"] + 1})


def test_fake_tensors_pass_with_groups() -> None:
    args = ffk_cases.make(37, 24, 64, 8, 16, hot=16)
    with FakeTensorMode() as mode:
        fake = {
            name: mode.from_tensor(value) if isinstance(value, torch.Tensor) else value
            for name, value in args.items()
        }
        assert ffkernels.sparse_gated_ffn(**fake, group=8, backend="auto").shape == (37, 24)


def test_fake_tensors_give_shape_and_dtype() -> None:
    half = {
        name: value.bfloat16() if value.is_floating_point() else value
        for name, value in TENSORS.items()
    }
    with FakeTensorMode() as mode:
        fake = {name: mode.from_tensor(value) for name, value in half.items()}
        fake["x"] = fake["x"].T.contiguous().T
        out = call(fake, "auto")
    assert out.shape == (37, 24) and out.dtype == torch.bfloat16 and out.is_contiguous()


def test_no_wrapper_of_python_is_in_front_of_the_operator() -> None:
    """`torch.library.custom_op` puts one there for gradients, which costs more than a small layer."""

    @torch.library.custom_op("ffk_test::wrapped", mutates_args=())
    def wrapped(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    found = [
        torch._C._dispatch_has_kernel_for_dispatch_key(name, "Autograd")
        for name in ("ffk_test::wrapped", "ffkernels::sparse_gated_ffn")
    ]
    assert found == [True, False]


def test_torch_accepts_the_registration() -> None:
    a = ARGS
    torch.library.opcheck(
        sparse_op,
        (
            a["x"],
            a["w_gate"],
            a["w_up"],
            a["w_down_t"],
            a["indices"],
            None,
            8,
            10,
            "silu",
            a["z"],
            a["v"],
            a["c"],
            a["extra"],
            a["w_extra"],
            1,
            "torch",
        ),
    )


RAGGED = ffk_cases.make_ragged(
    [13, 40, 0, 7, 1], 8, 24, 50, short=3, hot=10, rank=4, bias=True, extra=7
)


def test_torch_accepts_the_registration_with_offsets() -> None:
    a = RAGGED
    weights = (a["w_gate"], a["w_up"], a["w_down_t"])
    correction = (a["z"], a["v"], a["c"], a["extra"], a["w_extra"])
    torch.library.opcheck(
        sparse_op,
        (a["x"], *weights, a["indices"], a["offsets"], 8, 10, "silu", *correction, 1, "torch"),
    )


def test_ragged_blocks_compile_as_one_graph() -> None:
    tensors = {name: value for name, value in RAGGED.items() if isinstance(value, torch.Tensor)}
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager", dynamic=True)
    assert torch.equal(compiled(tensors), call(tensors))
    wrong = tensors | {"offsets": tensors["offsets"].flip(0)}
    with pytest.raises(ValueError, match="offsets: expected the first entry 0"):
        compiled(wrong)


@pytest.mark.parametrize("args", [ARGS, RAGGED], ids=["rectangular", "ragged"])
@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64], ids=str)
def test_fake_tensors_on_a_gpu_need_no_card(args: dict, index_dtype: torch.dtype) -> None:
    with FakeTensorMode():
        there = {
            name: torch.empty(
                value.shape,
                dtype=value.dtype if value.is_floating_point() else index_dtype,
                device="cuda",
            )
            if isinstance(value, torch.Tensor)
            else value
            for name, value in args.items()
        }
        out = ffkernels.sparse_gated_ffn(**there)
        weights = [there[name] for name in ("w_gate", "w_up", "w_down_t")]
        dense = ffkernels.dense_gated_ffn(there["x"], *weights)
        with pytest.raises(
            ValueError, match="indices: expected the device of x, cuda:0, received cpu"
        ):
            ffkernels.sparse_gated_ffn(**there | {"indices": there["indices"].cpu()})
    assert out.device.type == dense.device.type == "cuda" and out.shape == args["x"].shape


def test_dense_is_the_op_with_every_neuron_hot() -> None:
    args = ffk_cases.make(37, 24, 50, 8, 0, hot=50)
    got = ffkernels.dense_gated_ffn(
        *(args[n] for n in ("x", "w_gate", "w_up", "w_down_t")), backend="torch"
    )
    ffk_cases.assert_close(got, args)
