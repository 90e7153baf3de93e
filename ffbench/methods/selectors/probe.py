"""A few tokens of each block go through gate and up first; the idea is Probe Pruning's.

Probe Pruning (arXiv 2502.15618) probes with a small share of the tokens, scores neuron j by the
probes' squared activations times |Wd_j|^2 and mixes them with calibration statistics. Its fusion
rule, its choice of probes by residual importance and its pruning of attention are not reproduced:
here the energy is what the compensator leaves, and the mixing weight is our design.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ffbench.methods.energy import residual_energy
from ffbench.methods.registry import at_least, one_of
from ffbench.methods.selectors.base import Selector, SelectorInputs, selector

if TYPE_CHECKING:
    from ffbench.methods.plan import LayerPlan

CHOICES = ("spaced", "norm")


@selector
@dataclass(frozen=True)
class Probe(Selector):
    """Residual energy of a few probe tokens, shrunk towards the static prior.

    choice: `spaced` takes evenly spaced tokens, `norm` those with the largest input norm. share: of
    a block's tokens that are probes. prior_tokens: how many tokens the prior counts for in the
    mean.
    """

    name: ClassVar[str] = "probe"

    choice: str = "spaced"
    share: float = 1 / 32
    prior_tokens: float = 8.0

    def problems(self) -> list[str]:
        """Values outside their ranges."""
        share = [] if 0 < self.share <= 1 else [f"share: {self.share} is not in (0, 1]"]
        return [
            *one_of("choice", self.choice, CHOICES),
            *share,
            *at_least("prior_tokens", self.prior_tokens, 0),
        ]

    def probes(self, block_size: int) -> int:
        """Probe tokens per block, at least one."""
        return max(1, round(block_size * self.share))

    def flops(self, layer: "LayerPlan", d: int, block_size: int) -> float:
        """Gate and up of the probe tokens and their estimate, shared by the block's tokens."""
        f, rank = len(layer.order), layer.compensation.feature_width
        return self.probes(block_size) * (4.0 * d * f + 2.0 * rank * (d + f)) / block_size

    def scores(self, inputs: SelectorInputs) -> Tensor:
        """Mean energy of the probes [n, k, d], averaged with the prior as if it were
        `prior_tokens` more tokens.
        """
        blocks = inputs.blocks
        count, size, d = blocks.shape
        k = self.probes(size)
        if self.choice == "spaced":
            places = ((torch.arange(k, device=blocks.device) + 0.5) * size / k).long()
            probes = blocks[:, places]
        else:
            places = blocks.float().norm(dim=2).topk(k, dim=1).indices
            probes = blocks.gather(1, places[..., None].expand(-1, -1, d))
        rows = probes.reshape(count * k, d)
        estimate = inputs.layer.compensation.estimate(rows)
        energy = residual_energy(inputs.activations(rows), estimate, inputs.down_norms)
        mean = energy.view(count, k, -1).mean(1)
        prior = inputs.layer.predictor.prior
        return (k * mean + self.prior_tokens * prior) / (k + self.prior_tokens)
