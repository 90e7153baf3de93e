"""The forward path of per-token rules: exact results of their masks, computed dense. Accuracy only,
never timed.
"""

from torch import Tensor

from ffbench.methods.plan import LayerPlan
from ffbench.methods.selectors import Selector, TokenScene
from ffbench.models.adapters import GatedFFN


def token_forward(
    ffn: GatedFFN, layer: LayerPlan, rule: Selector, x: Tensor
) -> tuple[Tensor, float]:
    """FFN output [T, d] of x [T, d] under a per-token rule, and the share of the FFN's work that it
    kept.

    Raises ValueError for a plan with a hot set, which a per-token rule has no use for.
    """
    if layer.hot:
        raise ValueError(
            f"selector {rule.name!r} works token by token and takes no hot neurons; set hot_fraction to 0"
        )
    assert rule.hidden is not None
    act = ffn.module.act_fn
    hidden, share = rule.hidden(TokenScene(layer, x, ffn.w_gate, ffn.w_up, ffn.w_down, act))  # type: ignore[arg-type]
    return hidden @ ffn.w_down.T, share
