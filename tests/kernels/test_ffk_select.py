"""The choice of each block's neurons: torch's path by hand, Triton's under the interpreter."""

import ffk_select_interpreted
import pytest
import torch
from ffk_interpreter import outcomes_of
from torch._subclasses.fake_tensor import FakeTensorMode

import ffkernels
from ffkernels import select


@pytest.fixture(scope="module")
def outcome() -> dict[str, str]:
    pytest.importorskip("triton")
    return outcomes_of("ffk_select_interpreted.py")


@pytest.mark.parametrize("case", [name for name, _ in ffk_select_interpreted.cases()])
def test_triton_keeps_what_torch_keeps(outcome: dict[str, str], case: str) -> None:
    assert outcome[case] == "ok"


def test_by_hand() -> None:
    scores = torch.tensor([[1.0, 5.0, 5.0, 0.0, 5.0, 2.0], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]])
    kept = ffkernels.keep_largest(scores, 2)
    assert kept.dtype == torch.int32 and kept.tolist() == [[1, 2], [0, 5]]  # ties: lowest first
    assert ffkernels.keep_largest(scores, 2, group=2, first=10).tolist() == [[14, 15], [14, 15]]
    logs, prior = torch.tensor([[9.0, -9.0, 1.0]]), torch.tensor([1.0, 50.0, 3.0])
    # 1 e^4 = 54.6, 50 e^-4 = 0.9, 3 e = 8.2
    assert ffkernels.keep_largest(logs, 1, prior=prior, limit=4.0).tolist() == [[0]]
    assert ffkernels.keep_largest(logs, 2, prior=prior, limit=4.0).tolist() == [[0, 2]]
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]])
    means = ffkernels.block_means(x, 2, torch.tensor([1.0, 1.0]), torch.float16)
    assert means.dtype == torch.float16 and means.tolist() == [[1.0, 2.0], [9.0, 19.0]]
    assert ffkernels.block_means(x[:0], 2, torch.zeros(2), torch.float32).shape == (0, 2)


def test_a_number_per_row_by_hand() -> None:
    scores = torch.tensor([[1.0, 5.0, 5.0, 0.0], [4.0, 3.0, 2.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
    offsets = torch.tensor([0, 3, 3, 4], dtype=torch.int32)
    kept = ffkernels.keep_largest(scores, 4, first=2, offsets=offsets)
    assert kept.dtype == torch.int32 and kept.tolist() == [2, 3, 4, 5]
    offsets = torch.tensor([0, 2, 2, 6], dtype=torch.int32)
    assert ffkernels.keep_largest(scores, 6, group=2, offsets=offsets).tolist() == [
        0,
        1,
        0,
        1,
        2,
        3,
    ]


def test_the_largest_are_those_of_topk() -> None:
    scores = torch.randn(5, 300, generator=torch.Generator().manual_seed(0))
    expected = scores.topk(120, 1).indices.sort(1).values
    assert torch.equal(ffkernels.keep_largest(scores, 120), expected.int())


def test_fake_tensors_have_the_shapes() -> None:
    with FakeTensorMode():
        kept = ffkernels.keep_largest(torch.empty(5, 64, device="cuda"), 32, group=16)
        offsets = torch.empty(6, dtype=torch.int32, device="cuda")
        own = ffkernels.keep_largest(torch.empty(5, 64, device="cuda"), 99, offsets=offsets)
        means = ffkernels.block_means(
            torch.empty(70, 24, device="cuda"), 16, torch.empty(24, device="cuda"), torch.bfloat16
        )
    assert kept.shape == (5, 32) and kept.dtype == torch.int32 and kept.device.type == "cuda"
    assert own.shape == (99,) and own.dtype == torch.int32
    assert means.shape == (5, 24) and means.dtype == torch.bfloat16


def test_refusals() -> None:
    scores = torch.ones(2, 30)
    with pytest.raises(ValueError, match="group: 4 does not divide 30 scores and a count of 8"):
        ffkernels.keep_largest(scores, 8, group=4)
    with pytest.raises(ValueError, match="count: expected 0 to 30"):
        ffkernels.keep_largest(scores, 31)
    with pytest.raises(ValueError, match=r"count: expected 0 to 60 \(scores of all rows\)"):
        ffkernels.keep_largest(scores, 61, offsets=torch.zeros(3, dtype=torch.int32))
    with pytest.raises(ValueError, match=r"offsets: expected int32 \[3\], received torch.int64"):
        ffkernels.keep_largest(scores, 4, offsets=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="block_size: expected at least 1, received 0"):
        ffkernels.block_means(scores, 0, scores[0], torch.float32)
    with pytest.raises(ValueError, match="expected auto, triton or torch; received 'native'"):
        ffkernels.keep_largest(scores, 3, backend="native")
    with pytest.raises(ValueError, match="triton cannot run this input"):
        ffkernels.keep_largest(scores, 3, backend="triton")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
@pytest.mark.parametrize(("width", "group"), [(1536, 1), (8192, 16), (14336, 1), (28672, 1)])
def test_on_a_card(width: int, group: int) -> None:
    scores = (torch.randn(30, width, generator=torch.Generator().manual_seed(0)) * 64).round() / 64
    prior = torch.rand(width, generator=torch.Generator().manual_seed(1))
    for options in ({}, {"group": group}):
        there = ffkernels.keep_largest(scores.cuda(), width // 2, backend="triton", **options)
        assert torch.equal(there.cpu(), select.keep_largest(scores, width // 2, **options))
        counts = torch.arange(30) * 16
        offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0)).int()
        own = {"count": int(counts.sum()), "offsets": offsets} | options
        there = ffkernels.keep_largest(scores.cuda(), **own | {"offsets": offsets.cuda()})
        assert torch.equal(there.cpu(), select.keep_largest(scores, **own))
    there = ffkernels.keep_largest(scores.cuda(), width // 2, prior=prior.cuda(), limit=4.0)
    here = ffkernels.keep_largest(scores, width // 2, prior=prior, limit=4.0)
    same = (there.cpu() == here).float().mean()
    assert same > 0.99  # exp rounds differently there
