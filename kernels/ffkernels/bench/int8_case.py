"""The benchmark's case for int8 weights: float32 inputs, dense baselines in float32."""

import torch
from torch import Tensor

import ffkernels
from ffkernels import int8
from ffkernels.bench.cases import Case, IndexSet


def rounded_rows(t: Tensor) -> Tensor:
    """Round each row of t [n, m] to 255 levels, as int8 with a scale per row does."""
    step = t.abs().amax(1, keepdim=True) / int8.MOST
    return torch.where(step > 0, (t / step).round() * step, t)


class Int8Case(Case):
    """`Case` with the weights as int8 rows for the sparse and the own dense calls."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.weights = int8.quantize(self.gate, self.up, self.down_t)
        self.weight_dtype = torch.int8

    def call(self, layer: IndexSet, blocks: int, backend: str) -> Tensor:
        """The sparse call of one layer on the first `blocks` blocks."""
        return int8.sparse_gated_ffn_int8(
            self.x[: blocks * self.sets.block_size],
            self.weights,
            layer.indices[:blocks],
            self.sets.block_size,
            hot=layer.hot,
            group=self.sets.group_size,
            backend=backend,
        )

    def own_dense(self, backend: str) -> None:
        """The dense call of the same backend for every layer: all neurons are hot."""
        for _ in self.sets.layers:
            ffkernels.dense_gated_ffn_int8(self.x, self.weights, backend=backend)

    def correctness(self, backend: str) -> tuple[float, float]:
        """Error of the first two blocks against float64 with the same int8 weights.

        Allowed is four times the error of rounding x and h to int8 in float64. Both are relative to
        the largest output.
        """
        layer, blocks = self.sets.layers[0], min(2, len(self.sets.layers[0].indices))
        exact = self.call(layer, blocks, "reference").double()
        top = exact.abs().max().item() or 1.0
        rounded = self.rounded_in_float64(layer, blocks)
        error, of_rounding = (
            (y.double() - exact).abs().max().item() / top
            for y in (self.call(layer, blocks, backend), rounded)
        )
        return error, 4 * of_rounding + torch.finfo(torch.float32).eps

    def rounded_in_float64(self, layer: IndexSet, blocks: int) -> Tensor:
        """The call in float64 with x and h rounded to int8 per token, h with the down scales."""
        size, parts = self.sets.block_size, []
        gate, up, down = (
            rows.values.double() * rows.scales.double()[:, None]
            for rows in (self.weights.gate, self.weights.up, self.weights.down_t)
        )
        scales = self.weights.down_t.scales.double()
        for block in range(blocks):
            kept = torch.cat([torch.arange(layer.hot), layer.indices[block].long().cpu()])
            x = rounded_rows(self.x[block * size : (block + 1) * size].double())
            h = torch.nn.functional.silu(x @ gate[kept].T) * (x @ up[kept].T)
            parts.append(rounded_rows(h * scales[kept]) / scales[kept] @ down[kept])
        return torch.cat(parts)
