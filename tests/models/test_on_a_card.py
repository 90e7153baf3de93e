"""On a CUDA card: a sparse prefill gives what a CPU gives, and an 8B layer what float64 gives."""

import copy
from typing import Any

import pytest
import torch
from tiny_plans import BLOCK, prompt, random_tiny_plan, tiny_model
from torch import Tensor

import ffkernels
from ffbench.models.sparse_prefill import sparse_prefill

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card"),
]
MAPPED = {"compensator": {"name": "surrogate", "output_map_rank": 4}}
PLANS: dict[str, dict[str, Any]] = {
    "mapped": MAPPED,
    "hot": MAPPED | {"hot_fraction": 0.5},
    "groups": MAPPED | {"group_size": 16},
    "low rank": MAPPED | {"selector": {"name": "trained_lowrank", "rank": 8}},
    "static": MAPPED | {"selector": "static"},
    "oracle": {"selector": "oracle"},
    "lowrank": {"compensator": "lowrank"},
    "rsparse": {"compensator": "rsparse"},
    "bias": {"compensator": "bias"},
    "similar": MAPPED | {"blocks": "similar"},
    "per block": MAPPED | {"scheduler": "per_block"},
    "sorted, per block": MAPPED | {"scheduler": "per_block", "blocks": "sorted"},
}


def error(got: Tensor, expected: Tensor) -> float:
    """Length of the difference over that of what was expected."""
    got, expected = got.double(), expected.double()
    return float((got - expected).norm() / expected.norm())


@torch.no_grad()
@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("tokens", [7 * BLOCK + 5, 40])
def test_prefill(name: str, tokens: int) -> None:
    """A neuron at the edge of a block's choice may change sides, so there is room for that."""
    cpu = tiny_model()
    plan, ids = random_tiny_plan(cpu, **PLANS[name]), prompt(tokens)
    with sparse_prefill(cpu, plan, "torch") as here:
        expected = cpu(ids).logits
    model = copy.deepcopy(cpu).cuda()
    with sparse_prefill(model, plan) as there:
        got = model(ids.cuda()).logits.cpu()
    assert error(got, expected) < 0.02
    assert there.density == pytest.approx(here.density)


@torch.no_grad()
@pytest.mark.parametrize(("tokens", "block"), [(500, 128), (16384, 128), (4096, 512)])
@pytest.mark.parametrize("uneven", [False, True], ids=["one K", "K per block"])
def test_an_8b_layer_in_bfloat16(tokens: int, block: int, uneven: bool) -> None:
    """16,384 tokens: x no longer fits into the L2 cache of any card."""
    d, f, kept, hot, rank, width = 4096, 14336, 6144, 1024, 64, 176
    draw = torch.Generator("cuda").manual_seed(0)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        made = torch.randn(*shape, generator=draw, device="cuda", dtype=torch.bfloat16)
        return made * scale

    blocks = -(-tokens // block)
    counts = torch.full((blocks,), kept, device="cuda")
    if uneven:
        counts = torch.arange(blocks, device="cuda") * 992 % (f - hot)
    offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0)).int()
    scores = torch.rand(blocks, f - hot, generator=draw, device="cuda")
    indices = ffkernels.keep_largest(scores, int(offsets[-1]), first=hot, offsets=offsets)
    extra = normal(tokens, width)
    given: dict[str, Any] = {
        "x": normal(tokens, d),
        "w_gate": normal(f, d, scale=d**-0.5),
        "w_up": normal(f, d, scale=d**-0.5),
        "w_down_t": normal(f, d, scale=f**-0.5),
        "indices": indices if uneven else indices.view(blocks, kept),
        "offsets": offsets if uneven else None,
        "block_size": block,
        "hot": hot,
        "z": extra[:, :rank],
        "v": normal(f, rank, scale=0.3 * rank**-0.5),
        "c": normal(f, scale=0.3),
        "extra": extra,
        "w_extra": normal(width, d, scale=0.3 * width**-0.5),
    }
    exact = ffkernels.sparse_gated_ffn(**given, backend="reference")
    assert error(ffkernels.sparse_gated_ffn(**given, backend="triton"), exact) < 0.01
