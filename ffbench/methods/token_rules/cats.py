"""CATS (arXiv 2404.08763): neurons whose gate is small are left out, token by token."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from ffbench.methods.token_rules.base import (
    TokenInputs,
    TokenRule,
    estimated_elsewhere,
    threshold,
    token_rule,
)

if TYPE_CHECKING:
    from ffbench.methods.plan import LayerPlan


@token_rule
@dataclass(frozen=True)
class Cats(TokenRule):
    """Keep neurons with |act(gate)| above the layer's percentile on calibration text.

    What share of tokens' neurons is really kept varies with the text and is reported. The whole
    gate product is computed. With a compensator the estimate takes the place of what is left out
    (our addition).
    """

    name: ClassVar[str] = "cats"

    def flops(self, layer: "LayerPlan", d: int, block_size: int) -> float:
        """The gate rows of the neurons that are then left out."""
        return 2.0 * d * (len(layer.order) - layer.kept)

    def hidden(self, inputs: TokenInputs) -> tuple[Tensor, float]:
        """Neurons above the threshold, the estimate elsewhere."""
        gate = inputs.act(inputs.x @ inputs.w_gate.T)
        least = threshold(inputs.layer.statistics["gate_levels"], 1 - inputs.density)
        kept = gate.abs() > least
        a = gate * (inputs.x @ inputs.w_up.T)
        return estimated_elsewhere(inputs, a, kept), kept.float().mean().item()
