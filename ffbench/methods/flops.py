"""FLOPs of a plan over those of the dense FFN (multiply and add count as two)."""

from dataclasses import dataclass

from ffbench.methods.plan import LayerPlan, PlanSettings, SparsePlan
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


def choice_flops(settings: PlanSettings, layer: LayerPlan, d: int) -> float:
    """FLOPs per token of choosing a layer's blocks and their neurons."""
    size, width = settings.block_size, layer.compensation.feature_width
    flops = float(settings.selector.flops(layer, d, size))
    if settings.blocks == SORTED:
        flops += scale_flops(d, width)
    if settings.blocks == SIMILAR:
        flops += order_flops(PROMPT_TOKENS, size, width)
    return flops


def flops_of(plan: SparsePlan) -> PlanFlops:
    """FLOPs of a plan's sparse blocks, selector and compensator included; layers that keep every
    neuron need neither. An FFN counts by the share of tokens that reach it.

    Finding similar tokens is counted for a prompt of PROMPT_TOKENS tokens.
    """
    settings, d = plan.settings, len(plan.layers[0].predictor.mean)
    shares = [place.share for place in plan.places]
    ffns = list(zip(plan.layers, shares, strict=True))
    neurons = sum(share * len(layer.order) for layer, share in ffns)
    dense = 6.0 * d * neurons
    by_token = isinstance(settings.selector, TokenRule)
    sparse = [(layer, share) for layer, share in ffns if by_token or not layer.whole]
    selector = sum(share * choice_flops(settings, layer, d) for layer, share in sparse)
    compensator = sum(
        share * layer.compensation.flops(d, layer.kept, layer.hot) for layer, share in sparse
    )
    ideal = sum(share * layer.kept for layer, share in ffns) / neurons
    return PlanFlops(
        ideal + (selector + compensator) / dense, ideal, selector / dense, compensator / dense
    )
