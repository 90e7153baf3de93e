"""FLOPs of a plan over those of the dense FFN (multiply and add count as two)."""

from dataclasses import dataclass

from ffbench.methods.plan import SparsePlan
from ffbench.methods.similar_blocks import SIMILAR, SORTED, order_flops
from ffbench.methods.token_rules import TokenRule
from ffbench.methods.token_scale import scale_flops

PROMPT_TOKENS = 2048  # for the cost of finding similar tokens, which grows with the prompt


@dataclass(frozen=True)
class PlanFlops:
    """Shares of the dense FFN's FLOPs per token of a sparse block.

    ideal: the density; selector, compensator: what they add; ratio: all of it.
    """

    ratio: float
    ideal: float
    selector: float
    compensator: float

    def whole_prompt(self, density_used: float) -> float:
        """Ratio for a prompt of which `density_used` of all neurons were computed.

        The sparse share of the prompt is worked out from it: dense tokens use density 1.
        """
        sparse = (1 - density_used) / (1 - self.ideal) if self.ideal < 1 else 0.0
        return 1 - sparse * (1 - self.ratio)


def flops_of(plan: SparsePlan) -> PlanFlops:
    """FLOPs of a plan's sparse blocks, selector and compensator included; layers that keep every
    neuron need neither.

    Finding similar tokens is counted for a prompt of PROMPT_TOKENS tokens.
    """
    first, settings = plan.layers[0], plan.settings
    d, f = len(first.predictor.mean), len(first.order)
    dense = 6.0 * d * f * len(plan.layers)
    size = settings.block_size
    by_token = isinstance(settings.selector, TokenRule)
    sparse = [layer for layer in plan.layers if by_token or not layer.whole]
    selector = sum(settings.selector.flops(layer, d, size) for layer in sparse)
    if settings.blocks == SORTED:
        selector += sum(scale_flops(d, layer.compensation.feature_width) for layer in sparse)
    if settings.blocks == SIMILAR:
        selector += sum(
            order_flops(PROMPT_TOKENS, size, layer.compensation.feature_width) for layer in sparse
        )
    compensator = sum(layer.compensation.flops(d, layer.kept, layer.hot) for layer in sparse)
    ideal = sum(layer.kept for layer in plan.layers) / (f * len(plan.layers))
    return PlanFlops(
        ideal + (selector + compensator) / dense, ideal, selector / dense, compensator / dense
    )
