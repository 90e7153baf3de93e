"""Random text for the tiny models."""

import torch


def windows(count: int, length: int, seed: int = 0) -> torch.Tensor:
    """Token ids [count, length]."""
    return torch.randint(3, 259, (count, length), generator=torch.Generator().manual_seed(seed))
