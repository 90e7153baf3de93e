"""Low-rank weights for skipped neurons against loops in NumPy."""

import numpy as np
import pytest
import torch
from torch.nn.functional import silu

from ffbench.methods.compensators import COMPENSATORS
from ffbench.methods.compensators.base import FitInputs
from ffbench.methods.linalg import Moments

D, F, T, BLOCK = 9, 21, 13, 5


def best(weight: np.ndarray, rank: int) -> np.ndarray:
    u, s, vt = np.linalg.svd(weight, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vt[:rank]


def inputs_of(gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor) -> FitInputs:
    return FitInputs(Moments.zeros(D, F), gate, up, down, down.norm(dim=0))


@pytest.mark.parametrize(("rank", "hot"), [(1, 0), (4, 3), (D, 0)])
def test_skipped_neurons_go_through_low_rank_weights(rank: int, hot: int) -> None:
    g = torch.Generator().manual_seed(rank)
    gate, up, down, x = (
        torch.randn(*shape, generator=g) for shape in ((F, D), (F, D), (D, F), (T, D))
    )
    kept = [(hot + torch.randperm(F - hot, generator=g)[: 5 + i]).sort().values for i in range(3)]
    state = COMPENSATORS.make({"name": "rsparse", "rank": rank}).fit(inputs_of(gate, up, down))
    runtime = state.runtime(down.T.contiguous(), hot, silu)
    added = runtime.add_skipped(torch.ones(T, D), x, None, kept, BLOCK)
    wg, wu, wd = (best(w.double().numpy(), rank) for w in (gate, up, down))
    expected = np.ones((T, D))
    for t in range(T):
        for j in set(range(hot, F)) - set(kept[t // BLOCK].tolist()):
            z = float(x[t].double().numpy() @ wg[j])
            expected[t] += z / (1 + np.exp(-z)) * float(x[t].double().numpy() @ wu[j]) * wd[:, j]
    np.testing.assert_allclose(added.numpy(), expected, atol=1e-4, rtol=1e-3)
    assert state.flops(D, 7, hot) == 6 * rank * (D + F)
    assert not state.estimate(x).any() and runtime.features(x) is None


def test_a_rank_outside_is_refused() -> None:
    weights = torch.zeros(F, D), torch.zeros(F, D), torch.zeros(D, F)
    with pytest.raises(ValueError, match=f"compensator.rank: 10 is not in 1..{D}"):
        COMPENSATORS.make({"name": "rsparse", "rank": 10}).fit(inputs_of(*weights))
