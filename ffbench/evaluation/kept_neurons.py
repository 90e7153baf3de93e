"""Record which neurons a plan keeps on real prompts, for `python -m ffkernels.bench
--from-plan`.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.plan import SparsePlan
from ffbench.models.block_ffn import sparse_span
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.runs.tensor_files import save_tensors

FILE = "indices.safetensors"


@torch.no_grad()
def chosen_neurons(model: Any, plan: SparsePlan, windows: Tensor, backend: str) -> list[Tensor]:
    """Dynamic neurons int64 [blocks, kept - hot] of each layer over all windows ids [n, T], in the
    plan's order.

    Whole sparse blocks only. Raises ValueError if the windows are too short to have any.
    """
    size, rows = plan.settings.block_size, []
    with sparse_prefill(model, plan, backend) as prefill:
        for window in windows:
            prefill.chosen = []
            model.model(window.unsqueeze(0).to(model.device), use_cache=False)
            span = sparse_span(plan.settings, len(window))
            whole = len(span) // size
            rows.append([kept[:whole].cpu().long() for _, kept in prefill.chosen])
    if not rows or any(len(one) != len(plan.layers) for one in rows):
        raise ValueError(
            f"windows: expected more than {2 * size} tokens each, for sparse blocks of {size}; "
            f"received {list(windows.shape)}"
        )
    return [torch.cat(layer) for layer in zip(*rows, strict=True)]


def save_record(folder: Path, plan: SparsePlan, chosen: list[Tensor]) -> None:
    """Write indices.safetensors: `{layer}.indices` [blocks, K], `hot` [layers], sizes in the header
    (as text).
    """
    layer = plan.layers[0]
    header = {
        "d": len(layer.predictor.mean),
        "f": len(layer.order),
        "block_size": plan.settings.block_size,
        "group_size": plan.settings.group_size,
        "layers": len(plan.layers),
    }
    tensors = {f"{i}.indices": kept.contiguous() for i, kept in enumerate(chosen)}
    save_tensors(
        tensors | {"hot": torch.tensor([one.hot for one in plan.layers])},
        folder / FILE,
        {name: str(value) for name, value in header.items()},
    )
