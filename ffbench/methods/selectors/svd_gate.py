"""A truncated SVD of the gate matrix as a training-free predictor (SVDP, arXiv 2603.14110)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from ffbench.methods.linalg import truncated_svd
from ffbench.methods.selectors.base import Selector, SelectorInputs, selector
from ffbench.methods.tensors import NEURON, Axes

if TYPE_CHECKING:
    from ffbench.methods.plan import LayerPlan


@selector
@dataclass(frozen=True)
class SvdGate(Selector):
    """Mean over the block of act(approximate gate)^2, times E up_j^2 and |Wd_j|^2.

    SVDP predicts gate signs and sizes of single tokens; the sum over a block, and the weights for
    what the gate does not show, are our design. The compensator is not looked at. budget: share of
    the dense FFN's FLOPs that the two factors may cost.
    """

    name: ClassVar[str] = "svd_gate"
    tensor_axes: ClassVar[Axes] = {
        "gate_left": (NEURON, "gate_rank"),
        "gate_right": ("gate_rank", "input"),
    }

    budget: float = 0.03

    def problems(self) -> list[str]:
        """A budget outside (0, 1)."""
        return [] if 0 < self.budget < 1 else [f"budget: {self.budget} is not in (0, 1)"]

    def rank(self, d: int, f: int) -> int:
        """The largest rank whose two products stay within the budget, at least 1."""
        return min(max(1, int(self.budget * 6 * d * f / (2 * (d + f)))), d, f)

    def prepare(self, w_gate: Tensor, w_up: Tensor, w_down: Tensor) -> dict[str, Tensor]:
        """The gate matrix [f, d] as gate_left [f, r] times gate_right [r, d]."""
        f, d = w_gate.shape
        left, right = truncated_svd(w_gate, self.rank(d, f))
        return {"gate_left": left, "gate_right": right}

    def flops(self, layer: "LayerPlan", d: int, block_size: int) -> float:
        """Two products of the rank for every token."""
        f = len(layer.order)
        return 2.0 * self.rank(d, f) * (d + f)

    def scores(self, inputs: SelectorInputs) -> Tensor:
        """The approximate gate's mean square, weighted."""
        tensors = inputs.layer.selector_tensors
        approximate = inputs.blocks.float() @ tensors["gate_right"].T @ tensors["gate_left"].T
        energy = inputs.act(approximate).square().mean(1)
        return energy * inputs.layer.statistics["up_second"] * inputs.down_norms.square()
