"""R-Sparse's remainder for skipped neurons against loops in NumPy."""

import numpy as np
import pytest
import torch
from torch.nn.functional import silu

from ffbench.methods.compensators.remainder import (
    PARTS,
    remainder,
    remainder_factors,
    remainder_flops,
)

D, F, T, BLOCK = 9, 21, 13, 5


def best(weight: np.ndarray, rank: int) -> np.ndarray:
    u, s, vt = np.linalg.svd(weight, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vt[:rank]


@pytest.mark.parametrize(("rank", "hot"), [(1, 0), (4, 3), (D, 0)])
def test_the_remainder_is_the_low_rank_ffn_of_skipped_neurons(rank: int, hot: int) -> None:
    g = torch.Generator().manual_seed(rank)
    gate, up, down, x = (
        torch.randn(*shape, generator=g) for shape in ((F, D), (F, D), (D, F), (T, D))
    )
    kept = torch.stack(
        [(hot + torch.randperm(F - hot, generator=g)[:6]).sort().values for _ in range(3)]
    )
    extra = remainder_factors(gate, up, down, rank)
    found = remainder(extra, silu, x, kept, hot, BLOCK)
    wg, wu, wd = (best(one.double().numpy(), rank) for one in (gate, up, down))
    expected = np.zeros((T, D))
    for t in range(T):
        for j in set(range(hot, F)) - set(kept[t // BLOCK].tolist()):
            z = float(x[t].double().numpy() @ wg[j])
            expected[t] += z / (1 + np.exp(-z)) * float(x[t].double().numpy() @ wu[j]) * wd[:, j]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4, rtol=1e-3)
    assert remainder_flops(extra) == 6 * rank * (D + F) and tuple(extra) == PARTS
    assert all(len(one) == F for name, one in extra.items() if name.startswith("neuron_"))


def test_a_rank_outside_is_refused() -> None:
    with pytest.raises(ValueError, match=f"compensator.rank: 10 is not in 1..{D}"):
        remainder_factors(torch.zeros(F, D), torch.zeros(F, D), torch.zeros(D, F), 10)
