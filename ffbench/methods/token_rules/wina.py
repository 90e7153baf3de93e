"""WINA's rule (arXiv 2505.19427): inputs are ranked by size times the norm of their weights."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ffbench.methods.token_rules.base import TokenInputs, TokenRule, token_rule


def largest(x: Tensor, weight: Tensor, density: float) -> Tensor:
    """X [T, n] with only the share `density` of each row kept that has the largest
    |x_i| |W[:, i]|; W [m, n].
    """
    score = x.float().abs() * weight.float().norm(dim=0)
    best = score.topk(max(1, round(density * x.shape[1])), dim=1).indices
    return torch.zeros_like(x).scatter_(1, best, x.gather(1, best))


@token_rule
@dataclass(frozen=True)
class WinaRule(TokenRule):
    """Keep the best share of the inputs of gate, up and down, each ranked with its own column
    norms.

    Only the rule is reproduced: WINA also rotates the model so that columns are orthogonal and
    searches shares greedily, and its published code ranks the inputs of up and down by size alone.
    """

    name: ClassVar[str] = "wina_rule"
    skips_inputs: ClassVar[bool] = True

    def hidden(self, inputs: TokenInputs) -> tuple[Tensor, float]:
        """The best inputs of the three products."""
        density = inputs.density
        gate = largest(inputs.x, inputs.w_gate, density) @ inputs.w_gate.T
        up = largest(inputs.x, inputs.w_up, density) @ inputs.w_up.T
        return largest(inputs.act(gate) * up, inputs.w_down, density), density
