"""The module that takes the place of vLLM's MLP, and the operator behind it."""

from typing import Any

import torch
from torch import Tensor, nn

from ffbench.integrations.vllm.batch import CurrentBatch
from ffbench.integrations.vllm.layer import BatchFFN

OPERATOR = "ffbench_ffn"


class PlanMLP(nn.Module):
    """A gated FFN that runs prompts by a plan. `ranks`: outputs of so many processes are summed.

    One opaque operator, because the rows that are sparse are known only while a pass runs.
    """

    def __init__(self, name: str, ffn: BatchFFN, batch: CurrentBatch, ranks: int) -> None:
        super().__init__()
        self.name, self.ffn, self.batch, self.ranks = name, ffn, batch, ranks

    def forward(self, x: Tensor) -> Tensor:
        """FFN of a batch x [T, d]."""
        y = torch.ops.vllm.ffbench_ffn(x, self.name)
        if self.ranks == 1:
            return y  # type: ignore[no-any-return]
        from vllm.distributed import tensor_model_parallel_all_reduce

        return tensor_model_parallel_all_reduce(y)  # type: ignore[no-any-return]

    def run(self, x: Tensor, context: Any) -> Tensor:
        """FFN of x [T, d] in the pass that `context` (vLLM's forward context) describes."""
        layout = self.batch.layout(context, len(x), x.device)
        if layout is None:
            return self.ffn.mlp(x)  # type: ignore[no-any-return]
        return self.ffn.forward(x, layout, self.batch.dense_rows)


def ffbench_ffn(x: Tensor, layer_name: str) -> Tensor:
    """FFN of x [T, d] by the PlanMLP that is registered under `layer_name`."""
    from vllm.forward_context import get_forward_context

    context = get_forward_context()
    return context.no_compile_layers[layer_name].run(x, context)  # type: ignore[no-any-return]


def ffbench_ffn_fake(x: Tensor, layer_name: str) -> Tensor:
    """Shape and dtype of the result."""
    return torch.empty_like(x)


def register_operator() -> None:
    """Make torch.ops.vllm.ffbench_ffn known, once per process."""
    if hasattr(torch.ops.vllm, OPERATOR):
        return
    from vllm.utils.torch_utils import direct_register_custom_op

    direct_register_custom_op(OPERATOR, ffbench_ffn, fake_impl=ffbench_ffn_fake)
