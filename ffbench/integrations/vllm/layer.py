"""One layer's FFN on a serving batch: prompts by the plan, decoded tokens dense."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ffbench.integrations.vllm.positions import RequestRows
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
    are copied in the plan's order of neurons. `prefill` counts the density of all layers.
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
        weights = gate_up[:f][order], gate_up[f:][order], down[:, order]
        module = SplitFFN(*weights, activation)
        self.prefill = prefill
        ffn = GatedFFN(index, module, *weights, activation)
        self.sparse = SparseFFN(ffn, layer, plan, prefill, backend)

    @torch.no_grad()
    def forward(self, x: Tensor, requests: Sequence[RequestRows]) -> Tensor:
        """FFN of a batch x [T, d]; rows that belong to no request's prompt run dense."""
        y, dense = torch.empty_like(x), torch.ones(len(x), dtype=torch.bool)
        for request in requests:
            count = min(request.end - request.start, request.prompt_tokens - request.offset)
            if count < 1:
                continue
            rows = slice(request.start, request.start + count)
            dense[rows] = False
            self.prefill.prompt_tokens = request.prompt_tokens
            # no state of an earlier chunk: rows of a batch change owners between passes
            self.sparse.before.clear()
            y[rows] = self.sparse.prompt_forward(x[rows], offset=request.offset)
        self.prefill.prompt_tokens = None
        if bool(dense.any()):
            rest = dense.nonzero().flatten().to(x.device)
            y[rest] = self.sparse.dense(x[rest])
        return y
