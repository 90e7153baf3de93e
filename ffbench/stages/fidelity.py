"""How far a sparse prefill's next-token distributions are from the dense ones."""

import math
from typing import Any

import torch
from torch import Tensor

from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.sparsity.plan import SparsePlan


def compare_logits(dense: Tensor, sparse: Tensor, ids: Tensor, chunk: int = 256) -> dict[str, float]:
    """Means over tokens of one window: logits [T, vocab], ids [T].

    kl: KL(dense || sparse) in nats; top1_agreement; nll_dense and nll_sparse of the true next token.
    """
    sums = dict.fromkeys(("kl", "top1_agreement", "nll_dense", "nll_sparse"), 0.0)
    for start in range(0, len(ids) - 1, chunk):
        end = min(start + chunk, len(ids) - 1)
        p, q = dense[start:end].float().log_softmax(-1), sparse[start:end].float().log_softmax(-1)
        target = ids[start + 1:end + 1, None]
        sums["kl"] += (p.exp() * (p - q)).sum().item()
        sums["top1_agreement"] += (p.argmax(-1) == q.argmax(-1)).sum().item()
        sums["nll_dense"] -= p.gather(1, target).sum().item()
        sums["nll_sparse"] -= q.gather(1, target).sum().item()
    return {name: value / (len(ids) - 1) for name, value in sums.items()}


@torch.no_grad()
def fidelity(model: Any, plan: SparsePlan, window: Tensor, backend: str = "auto") -> dict[str, float]:
    """Fidelity of one window ids [T], the window run as one prompt."""
    ids = window.unsqueeze(0)
    dense = model(ids, use_cache=False).logits[0]
    with sparse_prefill(model, plan, backend) as usage:
        sparse = model(ids, use_cache=False).logits[0]
    figures = compare_logits(dense, sparse, window)
    figures["ppl_ratio"] = math.exp(figures["nll_sparse"] - figures["nll_dense"])
    return figures | {"density_used": usage.density}
