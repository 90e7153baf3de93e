"""FLOPs of a plan's sparse blocks, over those of the dense FFN (multiply and add count as two)."""

from ffbench.methods.compensators.remainder import PARTS, remainder_flops
from ffbench.methods.plan import LayerPlan, SparsePlan
from ffbench.methods.selectors import SELECTORS
from ffbench.methods.similar_blocks import SIMILAR, order_flops

PROMPT = 2048


def compensator_flops(layer: LayerPlan, d: int) -> float:
    """FLOPs a token of the estimate: P x, M z, and the kept dynamic neurons' V z; or the mask-blind
    map; or the SVDs.
    """
    rank, dynamic = layer.surrogate.rank, layer.kept - layer.hot
    found = 4.0 * d * rank + 2.0 * rank * dynamic if rank else 0.0
    if layer.output_map:
        found += 4.0 * d * layer.output_map.p.shape[0]
    if PARTS[0] in layer.extra:
        found += remainder_flops(layer.extra)
    return found


def flops_of(plan: SparsePlan) -> dict[str, float]:
    """`ratio`: sparse block FFN FLOPs over dense with everything counted; `ideal`: the density;
    `selector` and `compensator`: their shares of the dense FFN. Finding similar tokens is counted
    for a prompt of PROMPT tokens.
    """
    layer = plan.layers[0]
    d, f = layer.predictor.weights.shape[1], len(layer.order)
    dense = 6.0 * d * f * len(plan.layers)
    cost = SELECTORS[plan.settings.selector].flops
    selector = sum(cost(one, d, plan.settings.block_size) for one in plan.layers) / dense
    if plan.settings.blocks == SIMILAR:
        selector += (
            sum(
                order_flops(PROMPT, plan.settings.block_size, one.surrogate.rank)
                for one in plan.layers
            )
            / dense
        )
    compensator = sum(compensator_flops(one, d) for one in plan.layers) / dense
    ideal = sum(one.kept for one in plan.layers) / (f * len(plan.layers))
    return {
        "ratio": ideal + selector + compensator,
        "ideal": ideal,
        "selector": selector,
        "compensator": compensator,
    }
