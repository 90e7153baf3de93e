"""A truncated SVD of the gate matrix as a training-free predictor (SVDP, arXiv 2603.14110)."""

from torch import Tensor

from ffbench.methods.low_rank import truncated_svd
from ffbench.methods.plan import LayerPlan
from ffbench.methods.selectors.registry import Scene, selector

BUDGET = 0.03


def rank_of(d: int, f: int) -> int:
    """The largest rank whose two products cost at most 3% of the dense FFN's FLOPs, at least 1."""
    return min(max(1, int(BUDGET * 6 * d * f / (2 * (d + f)))), d, f)


def factors(w_gate: Tensor, w_up: Tensor, w_down: Tensor) -> dict[str, Tensor]:
    """The gate matrix [f, d] as neuron_gate_left [f, r] times gate_right [r, d]."""
    f, d = w_gate.shape
    left, right = truncated_svd(w_gate, rank_of(d, f))
    return {"neuron_gate_left": left, "gate_right": right}


def cost(layer: LayerPlan, d: int, block: int) -> float:
    """Two products of rank r for every token."""
    return 2.0 * rank_of(d, len(layer.order)) * (d + len(layer.order))


@selector("svd_gate", flops=cost, prepare=factors)
def svd_gate(scene: Scene) -> Tensor:
    """Mean over the block of act(approximate gate)^2, times E up_j^2 and |Wd_j|^2 from calibration
    text.

    SVDP predicts gate signs and sizes of single tokens from the truncated SVD; the sum over a
    block, and the weights for what the gate does not show, are our design. The surrogate is not
    looked at.
    """
    extra = scene.layer.extra
    approximate = scene.blocks.float() @ extra["gate_right"].T @ extra["neuron_gate_left"].T
    gate = scene.act(approximate)
    return gate.square().mean(1) * extra["neuron_up_second"] * scene.down_norms.square()
