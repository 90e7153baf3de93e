"""Hidden and intermediate sizes of published models, and random problems of those sizes."""

import torch
from torch import Tensor

SHAPES: dict[str, tuple[int, int]] = {  # name: (d, f)
    "smollm2-135m": (576, 1536),
    "qwen2.5-0.5b": (896, 4864),
    "qwen3-0.6b": (1024, 3072),
    "llama3.2-1b": (2048, 8192),
    "llama3.1-8b": (4096, 14336),
    "qwen3-8b": (4096, 12288),
}


def weights(
    d: int, f: int, dtype: torch.dtype, gen: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return random w_gate, w_up, w_down_t, each [f, d], scaled so that activations stay near 1."""
    gate = (torch.randn(f, d, generator=gen) * d**-0.5).to(dtype)
    up = (torch.randn(f, d, generator=gen) * d**-0.5).to(dtype)
    down = (torch.randn(f, d, generator=gen) * f**-0.5).to(dtype)
    return gate, up, down


def index_sets(
    blocks: int, f: int, hot: int, kept: int, group: int, gen: torch.Generator
) -> Tensor:
    """Return sorted random sets int32 [blocks, K] in [hot, f), in whole groups of neighbours.

    K is `kept` rounded down to whole groups of `group` neurons; groups start at `hot`. A last,
    incomplete group is never drawn.
    """
    total, wanted = (f - hot) // group, kept // group
    rows = []
    for _ in range(blocks):
        starts = torch.randperm(total, generator=gen)[:wanted].sort()[0] * group + hot
        rows.append((starts[:, None] + torch.arange(group)).flatten().int())
    return torch.stack(rows) if rows else torch.empty(0, wanted * group, dtype=torch.int32)
