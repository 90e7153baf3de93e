"""One layer's FFN on a serving batch: prompts by the plan, decoded tokens dense."""

from typing import Any

import torch
from torch import Tensor

from ffbench.integrations.vllm.positions import BatchLayout
from ffbench.integrations.vllm.weights import stored_in_order
from ffbench.methods.plan import SparsePlan
from ffbench.models.gated_ffn import GatedFFN
from ffbench.models.prefill_state import Prefill
from ffbench.models.sparse_ffn import SparseFFN

# Rows that the native kernel gives a thread at least: with fewer, some threads have nothing to do
ROWS_PER_THREAD = 32


class BatchFFN:
    """The FFN of layer `index` for batches of several requests.

    mlp: the model's own module, as `stored_in_order` describes it. Its weights are stored in the
    plan's order of neurons, and there is no second copy of them: it computes passes without sparse
    rows, the kernels compute the sparse ones. `prefill` counts the density of all layers.

    Raises ValueError if the plan has another number of neurons.
    """

    def __init__(
        self,
        *,
        index: int,
        mlp: Any,
        activation: str,
        plan: SparsePlan,
        prefill: Prefill,
        backend: str = "auto",
    ) -> None:
        layer = plan.layers[index]
        try:
            weights = stored_in_order(mlp, layer.order)
        except ValueError as error:
            raise ValueError(f"layer {index}: {error}") from error
        self.mlp, self.prefill = mlp, prefill
        ffn = GatedFFN(index, mlp, *weights, activation)
        self.sparse = SparseFFN(ffn, layer, plan, prefill, backend)
        self.neurons = len(layer.order)

    @torch.no_grad()
    def forward(self, x: Tensor, layout: BatchLayout, dense_rows: Tensor | None = None) -> Tensor:
        """FFN of a batch x [T, d] whose rows run as `layout` says.

        dense_rows: `rows_of(layout.dense)` on the device of x, which all layers of a pass share.
        """
        prefill = self.prefill
        sparse_rows = sum(part.end - part.start for part in layout.sparse)
        prefill.total += self.neurons * layout.prompt_rows
        prefill.used += self.neurons * (layout.prompt_rows - sparse_rows)
        if not layout.sparse:
            return self.mlp(x)  # type: ignore[no-any-return]
        if self.sparse.layer.whole:
            prefill.used += self.neurons * sparse_rows
            return self.dense(x)
        y = torch.empty_like(x)
        for part in layout.sparse:
            rows = slice(part.start, part.end)
            # plans whose blocks read an earlier block are refused at start
            y[rows] = self.sparse.sparse(x[:0], x[rows], part.leading)
        if layout.dense:
            rest = rows_of(layout.dense, x.device) if dense_rows is None else dense_rows
            y.index_copy_(0, rest, self.dense(x.index_select(0, rest)))
        return y

    def dense(self, x: Tensor) -> Tensor:
        """Dense FFN of rows x [T, d] beside sparse ones: by the module where they are too few for
        the kernel's threads, which share rows and not neurons.
        """
        if len(x) < ROWS_PER_THREAD * torch.get_num_threads():
            return self.mlp(x)  # type: ignore[no-any-return]
        return self.sparse.dense(x)


def rows_of(ranges: tuple[range, ...], device: torch.device) -> Tensor:
    """The row numbers of some ranges, int64, on a device."""
    parts = [torch.arange(part.start, part.stop) for part in ranges]
    return (torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64)).to(device)
