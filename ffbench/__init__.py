"""Benchmark suite for predictive FFN sparsity in LLM prefill (FastForward, arXiv 2602.00397).

from ffbench import SparseModel, SparsePlan, evaluate, run, sparse_prefill
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ffbench.api import evaluate, run
    from ffbench.methods.plan import SparsePlan
    from ffbench.models.sparse_model import SparseModel
    from ffbench.models.sparse_prefill import sparse_prefill

__version__ = "0.1.0"
__all__ = ["SparseModel", "SparsePlan", "__version__", "evaluate", "run", "sparse_prefill"]


def __getattr__(name: str) -> Any:
    """The public names, imported on first use: `import ffbench` alone does not import torch."""
    if name == "SparsePlan":
        from ffbench.methods.plan import SparsePlan

        return SparsePlan
    if name == "SparseModel":
        from ffbench.models.sparse_model import SparseModel

        return SparseModel
    if name == "sparse_prefill":
        from ffbench.models.sparse_prefill import sparse_prefill

        return sparse_prefill
    if name in ("evaluate", "run"):
        from ffbench import api

        return getattr(api, name)
    raise AttributeError(f"module 'ffbench' has no attribute {name!r}")
