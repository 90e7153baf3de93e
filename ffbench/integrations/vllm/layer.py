"""One layer's FFN on a serving batch: prompts by the plan, decoded tokens dense."""

import torch
from torch import Tensor, nn

from ffbench.integrations.vllm.positions import BatchLayout
from ffbench.methods.plan import SparsePlan
from ffbench.models.adapters import ACTIVATION_FUNCTIONS, GatedFFN
from ffbench.models.prefill_state import Prefill
from ffbench.models.sparse_ffn import SparseFFN


class SplitFFN(nn.Module):
    """A gated FFN with projections of their own, made of w_gate, w_up [f, d] and w_down [d, f]."""

    def __init__(self, w_gate: Tensor, w_up: Tensor, w_down: Tensor, activation: str) -> None:
        super().__init__()
        self.act_fn = ACTIVATION_FUNCTIONS[activation]
        weights = {"gate_proj": w_gate, "up_proj": w_up, "down_proj": w_down}
        for name, weight in weights.items():
            linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
            linear.weight = nn.Parameter(weight, requires_grad=False)
            self.add_module(name, linear)

    def forward(self, x: Tensor) -> Tensor:
        """FFN of x [..., d]."""
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return, operator]


class BatchFFN:
    """The FFN of layer `index` for batches of several requests.

    gate_up [2f, d] holds the gate's rows, then those of the up projection; down [d, f]. The weights
    are copied in the plan's order of neurons, so both may be freed afterwards. `prefill` counts the
    density of all layers.
    """

    def __init__(
        self,
        *,
        index: int,
        gate_up: Tensor,
        down: Tensor,
        activation: str,
        plan: SparsePlan,
        prefill: Prefill,
        backend: str = "auto",
    ) -> None:
        layer = plan.layers[index]
        f, order = down.shape[1], layer.order.to(down.device)
        if len(order) != f or gate_up.shape != (2 * f, down.shape[0]):
            raise ValueError(
                f"layer {index}: the plan has {len(order)} neurons, the weights have shapes "
                f"{tuple(gate_up.shape)} and {tuple(down.shape)}"
            )
        # the kernels read rows of the transposed down matrix: a view of them needs no second copy
        down_rows = down.T[order].contiguous()
        weights = gate_up[:f][order], gate_up[f:][order], down_rows.T
        module = SplitFFN(*weights, activation)
        self.prefill = prefill
        ffn = GatedFFN(index, module, *weights, activation)
        self.sparse = SparseFFN(ffn, layer, plan, prefill, backend)
        self.neurons = f

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
            return self.sparse.dense(x)
        y = torch.empty_like(x)
        for part in layout.sparse:
            rows = slice(part.start, part.end)
            # plans whose blocks read an earlier block are refused at start
            y[rows] = self.sparse.sparse(x[:0], x[rows], part.leading)
        if layout.dense:
            rest = rows_of(layout.dense, x.device) if dense_rows is None else dense_rows
            y.index_copy_(0, rest, self.sparse.dense(x.index_select(0, rest)))
        return y


def rows_of(ranges: tuple[range, ...], device: torch.device) -> Tensor:
    """The row numbers of some ranges, int64, on a device."""
    parts = [torch.arange(part.start, part.stop) for part in ranges]
    return (torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64)).to(device)
