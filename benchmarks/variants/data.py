"""What the variants learn from: inputs of a layer, and what keeping each neuron would be worth."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ffbench.methods.compensators import CompensatorState
from ffbench.training.layer_walk import LayerData

CHUNK = 8  # tokens whose worth is summed, to save memory; block sizes are multiples of it


@dataclass
class Examples:
    """Windows of one layer: x [w, T, d], and the worth of neurons by target, summed over chunks,
    [w, T / CHUNK, f].
    """

    x: Tensor
    worth: dict[str, Tensor]

    def blocks(self, size: int, starts: Tensor, target: str) -> tuple[Tensor, Tensor]:
        """Blocks [n, size, d] and their mean worth [n, f]; starts [n, 2]: window and first chunk.

        Raises ValueError if blocks are not whole chunks.
        """
        if size % CHUNK:
            raise ValueError(f"block_size: {size} is not a multiple of {CHUNK}")
        x = torch.stack([self.x[w, c * CHUNK : c * CHUNK + size] for w, c in starts.tolist()])
        worth = torch.stack(
            [self.worth[target][w, c : c + size // CHUNK].sum(0) for w, c in starts.tolist()]
        )
        return x, worth / size

    def starts(self, size: int, step: int) -> Tensor:
        """Every window and first chunk [n, 2] of blocks that begin `step` tokens apart."""
        windows, tokens = self.x.shape[:2]
        return torch.tensor(
            [(w, c // CHUNK) for w in range(windows) for c in range(0, tokens - size + 1, step)]
        )


def worth_of(a: Tensor, residual: Tensor, w_down: Tensor) -> dict[str, Tensor]:
    """Worth of neurons by target, [T, f]; activations a and their residual r after the estimate
    [T, f], w_down [d, f].

    residual: r_j^2 |Wd_j|^2. griffin: a_j^2 / |a|^2 (GRIFFIN's statistic squared, arXiv
    2404.01365). output: the decrease of |Wd r|^2 when neuron j alone is kept, 2 r_j Wd_j . (Wd r) -
    r_j^2 |Wd_j|^2 (our design).
    """
    energy = residual.square() * w_down.square().sum(0)
    toward = (residual @ w_down.T) @ w_down
    return {
        "residual": energy,
        "griffin": a.square() / a.square().sum(1, keepdim=True).clamp_min(1e-30),
        "output": 2 * residual * toward - energy,
    }


@torch.no_grad()
def examples(data: LayerData, compensation: CompensatorState) -> Examples:
    """Inputs and worths of all windows of a layer."""
    xs: list[Tensor] = []
    chunks: dict[str, list[Tensor]] = {}
    w_down = data.ffn.w_down.float()
    for x, a in data:
        whole = len(x) // CHUNK * CHUNK
        x, a = x[:whole].float(), a[:whole].float()
        xs.append(x)
        for name, worth in worth_of(a, a - compensation.estimate(x), w_down).items():
            chunks.setdefault(name, []).append(worth.view(-1, CHUNK, worth.shape[1]).sum(1))
    return Examples(torch.stack(xs), {name: torch.stack(parts) for name, parts in chunks.items()})
