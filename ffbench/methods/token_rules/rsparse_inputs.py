"""R-Sparse (arXiv 2504.19449): large inputs go through the matrix, the rest through its SVD."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from ffbench.methods.linalg import truncated_svd
from ffbench.methods.registry import at_least
from ffbench.methods.tensors import NEURON, Axes
from ffbench.methods.token_rules.base import TokenInputs, TokenRule, threshold, token_rule

if TYPE_CHECKING:
    from ffbench.methods.plan import LayerPlan


@token_rule
@dataclass(frozen=True)
class RSparseInputs(TokenRule):
    """Inputs above the layer's percentile exact, the others through a truncated SVD of the matrix.

    The down product is thresholded alone (its low-rank remainder would need a second output), and
    the paper's search of ranks and shares by layer is not reproduced.
    """

    name: ClassVar[str] = "rsparse_inputs"
    skips_inputs: ClassVar[bool] = True
    tensor_axes: ClassVar[Axes] = {
        "gate_left": (NEURON, "rank"),
        "gate_right": ("rank", "input"),
        "up_left": (NEURON, "rank"),
        "up_right": ("rank", "input"),
    }

    rank: int = 32

    def problems(self) -> list[str]:
        """A rank below 1."""
        return at_least("rank", self.rank, 1)

    def prepare(self, w_gate: Tensor, w_up: Tensor, w_down: Tensor) -> dict[str, Tensor]:
        """Truncated SVDs of gate and up; the rank is at most the smaller side."""
        rank = min(self.rank, *w_gate.shape)
        gate, up = truncated_svd(w_gate, rank), truncated_svd(w_up, rank)
        return {"gate_left": gate[0], "gate_right": gate[1], "up_left": up[0], "up_right": up[1]}

    def flops(self, layer: "LayerPlan", d: int, block_size: int) -> float:
        """Both factors of gate and up for all inputs."""
        return 4.0 * self.rank * (d + len(layer.order))

    def hidden(self, inputs: TokenInputs) -> tuple[Tensor, float]:
        """The two products with their remainders, and thresholded activations."""
        levels, skipped = inputs.layer.statistics, 1 - inputs.density
        large = inputs.x.abs() > threshold(levels["input_levels"], skipped)
        kept, rest = inputs.x * large, inputs.x * ~large
        tensors, products = inputs.layer.selector_tensors, []
        for name, weight in (("gate", inputs.w_gate), ("up", inputs.w_up)):
            remainder = (rest.float() @ tensors[f"{name}_right"].T) @ tensors[f"{name}_left"].T
            products.append(kept @ weight.T + remainder.to(kept.dtype))
        h = inputs.act(products[0]) * products[1]
        used = h.abs() > threshold(levels["activation_levels"], skipped)
        share = (2 * large.float().mean().item() + used.float().mean().item()) / 3
        return h * used, share
