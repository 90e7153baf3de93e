"""The per-token oracle: how far neuron sparsity could go without blocks."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ffbench.methods.energy import residual_energy
from ffbench.methods.token_rules.base import TokenInputs, TokenRule, estimated_elsewhere, token_rule

if TYPE_CHECKING:
    from ffbench.methods.plan import LayerPlan


@token_rule
@dataclass(frozen=True)
class OracleToken(TokenRule):
    """The K neurons of each token with the largest residual energy: a bound for any choice."""

    name: ClassVar[str] = "oracle_token"

    def flops(self, layer: "LayerPlan", d: int, block_size: int) -> float:
        """The dense gate and up products."""
        return 4.0 * d * len(layer.order)

    def hidden(self, inputs: TokenInputs) -> tuple[Tensor, float]:
        """The best neurons of each token, the estimate elsewhere."""
        a = inputs.act(inputs.x @ inputs.w_gate.T) * (inputs.x @ inputs.w_up.T)
        estimate = inputs.layer.compensation.estimate(inputs.x)
        energy = residual_energy(a, estimate, inputs.w_down.float().norm(dim=0))
        best = energy.topk(inputs.layer.kept, dim=1).indices
        kept = torch.zeros_like(energy, dtype=torch.bool).scatter_(1, best, True)
        return estimated_elsewhere(inputs, a, kept), inputs.density
