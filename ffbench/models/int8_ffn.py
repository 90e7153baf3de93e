"""One FFN on prompts with its weights rounded to int8, on a CPU."""

from dataclasses import replace

from torch import Tensor

from ffbench.methods.plan import LayerPlan, SparsePlan
from ffbench.models.gated_ffn import GatedFFN
from ffbench.models.prefill_state import Prefill
from ffbench.models.sparse_ffn import SparseFFN
from ffkernels import dense_gated_ffn_int8, sparse_gated_ffn_int8
from ffkernels.int8 import quantize


class Int8FFN(SparseFFN):
    """`SparseFFN` whose prompt tokens, dense ones too, meet int8 copies of the weights.

    A copy has a factor per row, and activations are rounded inside the kernel
    (`ffkernels.int8`). The copies, a quarter of float32's bytes, stay beside the model's weights:
    decoded tokens run through the model's own FFN. Selector and output map are not rounded.
    """

    def __init__(
        self, ffn: GatedFFN, layer: LayerPlan, plan: SparsePlan, prompt: Prefill, backend: str
    ) -> None:
        super().__init__(ffn, layer, plan, prompt, backend)
        self.rounded = quantize(
            ffn.w_gate, ffn.w_up, self.w_down_t, self.compensation.activation_map
        )

    def dense(self, x: Tensor) -> Tensor:
        """Dense FFN of x [T, d]."""
        return dense_gated_ffn_int8(x, replace(self.rounded, v=None), self.ffn.activation)

    def multiply(
        self, x: Tensor, z: Tensor | None, indices: Tensor, offsets: Tensor | None
    ) -> Tensor:
        """The kernel's call."""
        features = None if z is None else self.compensation.estimating(z)
        estimates = features is not None and self.rounded.v is not None
        return sparse_gated_ffn_int8(
            x,
            self.rounded if estimates else replace(self.rounded, v=None),
            indices,
            self.plan.settings.block_size,
            offsets=offsets,
            hot=self.layer.hot,
            activation=self.ffn.activation,
            z=features if estimates else None,
            c=self.compensation.mean,
            group=self.plan.settings.group_size,
        )
