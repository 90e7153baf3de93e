"""Low-rank factors of weight matrices."""

import torch
from torch import Tensor

OVERSAMPLE = 16
ITERATIONS = 8


def truncated_svd(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors left [m, r] and right [r, n] of weight [m, n], float32: its truncated SVD, by
    randomised subspace iteration (Halko, Martinsson, Tropp 2011) with a fixed seed.

    Raises ValueError when the rank is not in 1..min(m, n).
    """
    if not 1 <= rank <= min(weight.shape):
        raise ValueError(f"rank: {rank} is not in 1..{min(weight.shape)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        u, s, v = torch.svd_lowrank(
            weight.float(), min(rank + OVERSAMPLE, *weight.shape), ITERATIONS
        )
    return u[:, :rank] * s[:rank], v[:, :rank].T.contiguous()
