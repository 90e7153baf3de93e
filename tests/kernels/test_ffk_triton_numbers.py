"""The Triton kernels' arithmetic under the interpreter, in a process of its own, and on a card
if there is one."""

import ffk_cases
import ffk_interpreted
import pytest
import torch
from ffk_interpreter import outcomes_of

import ffkernels

pytest.importorskip("triton")


@pytest.fixture(scope="module")
def outcome() -> dict[str, str]:
    return outcomes_of("ffk_interpreted.py")


@pytest.mark.parametrize("case", [name for name, _ in ffk_interpreted.cases()])
def test_interpreted(outcome: dict[str, str], case: str) -> None:
    assert outcome[case] == "ok"


def test_cpu_tensors_are_refused_without_the_interpreter() -> None:
    args = ffk_cases.make(5, 24, 50, 8, 13)
    with pytest.raises(
        ValueError, match="backend: expected one that can run this input, received 'triton'"
    ):
        ffkernels.sparse_gated_ffn(**args, backend="triton")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("group", [1, 16, 32])
@pytest.mark.parametrize("block", [16, 32, 64, 128, 200])
def test_on_a_card(dtype: torch.dtype, group: int, block: int) -> None:
    from ffkernels.bench import shapes

    args = ffk_cases.make(
        500, 256, 1024, block, 512, hot=96, rank=40, bias=True, extra=48, dtype=dtype
    )
    args["indices"] = shapes.index_sets(
        -(-500 // block), 1024, 96, 512, group, torch.Generator().manual_seed(2)
    )
    there = {
        name: value.cuda() if isinstance(value, torch.Tensor) else value
        for name, value in args.items()
    }
    got = ffkernels.sparse_gated_ffn(**there, group=group, backend="triton")
    ffk_cases.assert_close(got.cpu(), args)
