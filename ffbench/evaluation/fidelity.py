"""How far a sparse prefill's next-token distributions are from the dense ones, on held-out text."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ffbench.methods.plan import SparsePlan
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.runs.progress import progress_bar

RESAMPLES = 2000
FILE = "hidden.safetensors"


def last_hidden(model: Any, window: Tensor) -> Tensor:
    """Hidden states [T, d] that enter the output head, of one window ids [T]."""
    return model.model(window.unsqueeze(0).to(model.device), use_cache=False).last_hidden_state[0]


def compare(
    head: Any, dense: Tensor, sparse: Tensor, ids: Tensor, chunk: int = 256
) -> dict[str, float]:
    """Means over the tokens of one window: hidden states [T, d] of both sides, ids [T], head: d ->
    vocabulary.

    kl: KL(dense || sparse) in nats; top1_agreement; nll_dense and nll_sparse of the true next
    token.
    """
    sums = dict.fromkeys(("kl", "top1_agreement", "nll_dense", "nll_sparse"), 0.0)
    ids = ids.to(dense.device)
    for start in range(0, len(ids) - 1, chunk):
        end = min(start + chunk, len(ids) - 1)
        p, q = (head(side[start:end]).float().log_softmax(-1) for side in (dense, sparse))
        target = ids[start + 1 : end + 1, None]
        sums["kl"] += (p.exp() * (p - q)).sum().item()
        sums["top1_agreement"] += (p.argmax(-1) == q.argmax(-1)).sum().item()
        sums["nll_dense"] -= p.gather(1, target).sum().item()
        sums["nll_sparse"] -= q.gather(1, target).sum().item()
    return {name: value / (len(ids) - 1) for name, value in sums.items()}


@torch.no_grad()
def fidelity(
    model: Any, plan: SparsePlan, window: Tensor, backend: str = "auto"
) -> dict[str, float]:
    """Fidelity of one window ids [T] run as one prompt, the dense side computed here."""
    dense = last_hidden(model, window)
    return against(model, plan, window, dense, backend)


def against(
    model: Any, plan: SparsePlan, window: Tensor, dense: Tensor, backend: str
) -> dict[str, float]:
    """Figures of one window against its dense hidden states [T, d]."""
    with sparse_prefill(model, plan, backend) as usage:
        sparse = last_hidden(model, window)
    figures = compare(model.lm_head, dense.to(sparse.device), sparse, window)
    figures["ppl_ratio"] = math.exp(figures["nll_sparse"] - figures["nll_dense"])
    return figures | {"density_used": usage.density}


@torch.no_grad()
def save_dense(model: Any, windows: dict[str, Tensor], folder: Path) -> None:
    """Write the dense hidden states [n, T, d] of each text's windows, for every run of a sweep to
    compare with.
    """
    states = {
        kind: torch.stack(
            [
                last_hidden(model, window).cpu()
                for window in progress_bar(batch, desc=f"dense: {kind}")
            ]
        )
        for kind, batch in windows.items()
    }
    save_file(states, folder / FILE)


@torch.no_grad()
def fidelity_rows(
    model: Any,
    plan: SparsePlan,
    windows: dict[str, Tensor],
    folder: Path,
    backend: str = "auto",
    seen: Callable[[list[dict[str, float]]], None] = lambda rows: None,
) -> dict[str, list[dict[str, float]]]:
    """Figures of every window [n, T] of each text, run as one sparse prompt, against what
    `save_dense` wrote.

    `seen` gets the figures of all windows so far after each one.
    """
    states = load_file(folder / FILE)
    rows: dict[str, list[dict[str, float]]] = {kind: [] for kind in windows}
    for kind, batch in windows.items():
        for window, dense in zip(
            progress_bar(batch, desc=f"sparse: {kind}"), states[kind], strict=True
        ):
            rows[kind].append(against(model, plan, window, dense, backend))
            seen([one for group in rows.values() for one in group])
    return rows


def figures_of(rows: list[dict[str, float]], window_tokens: int, seed: int = 0) -> dict[str, Any]:
    """Fidelity figures of docs/result-schema.md: means over windows, KL with a bootstrap interval
    over windows.
    """
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    kl = np.array([row["kl"] for row in rows])
    draws = kl[np.random.default_rng(seed).integers(0, len(kl), (RESAMPLES, len(kl)))].mean(1)
    low, high = (float(value) for value in np.percentile(draws, [2.5, 97.5]))
    return {
        "windows": len(rows),
        "window_tokens": window_tokens,
        "kl": mean["kl"],
        "kl_low": low,
        "kl_high": high,
        "top1_agreement": mean["top1_agreement"],
        "ppl_ratio": math.exp(mean["nll_sparse"] - mean["nll_dense"]),
        "ppl_dense": math.exp(mean["nll_dense"]),
        "density_used": mean["density_used"],
    }


def summarise(rows: dict[str, list[dict[str, float]]], window_tokens: int) -> dict[str, Any]:
    """Figures of each text, and `mean` over all windows."""
    found = {kind: figures_of(batch, window_tokens) for kind, batch in rows.items()}
    return found | {
        "mean": figures_of([row for batch in rows.values() for row in batch], window_tokens)
    }
