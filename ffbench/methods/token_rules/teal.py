"""TEAL (arXiv 2408.14690): inputs of small magnitude are left out of each matrix product."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ffbench.methods.token_rules.base import TokenInputs, TokenRule, threshold, token_rule


@token_rule
@dataclass(frozen=True)
class Teal(TokenRule):
    """Zero the inputs of gate, up and down below the layer's percentile of |x| on calibration text.

    The same share is asked of the three matrices. TEAL also searches shares by matrix; that greedy
    search is not reproduced, which makes this a weaker TEAL. The scheduler gives each layer its
    share, and the share of products that was really computed is reported.
    """

    name: ClassVar[str] = "teal"
    skips_inputs: ClassVar[bool] = True

    def hidden(self, inputs: TokenInputs) -> tuple[Tensor, float]:
        """Thresholded inputs of the three products."""
        levels, skipped = inputs.layer.statistics, 1 - inputs.density
        large = inputs.x.abs() > threshold(levels["input_levels"], skipped)
        x = inputs.x * large
        h = inputs.act(x @ inputs.w_gate.T) * (x @ inputs.w_up.T)
        used = h.abs() > threshold(levels["activation_levels"], skipped)
        share = (2 * large.float().mean().item() + used.float().mean().item()) / 3
        return h * used, share
