"""The forward path of token rules: exact results of their masks, computed dense, never timed."""

from torch import Tensor

from ffbench.methods.plan import LayerPlan
from ffbench.methods.token_rules import TokenInputs, TokenRule
from ffbench.models.adapters import GatedFFN


def token_forward(
    ffn: GatedFFN, layer: LayerPlan, rule: TokenRule, x: Tensor
) -> tuple[Tensor, float]:
    """FFN output [T, d] of x [T, d] under a token rule, and the share of the FFN's work it kept.

    Raises ValueError for a plan with a hot set, which a token rule cannot use.
    """
    if layer.hot:
        raise ValueError(
            f"selector {rule.name!r} works token by token and does not support a hot set; set "
            "hot_fraction=0"
        )
    inputs = TokenInputs(layer, x, ffn.w_gate, ffn.w_up, ffn.w_down, ffn.act)
    hidden, share = rule.hidden(inputs)
    return hidden @ ffn.w_down.T, share
