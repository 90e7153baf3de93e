"""Block-sparse gated feed-forward kernels. Importing this package does not import torch."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["available_backends", "dense_gated_ffn", "sparse_gated_ffn"]


def __getattr__(name: str) -> Any:
    """Load the public functions (and with them torch) on first use."""
    if name in __all__:
        from ffkernels import api

        return getattr(api, name)
    raise AttributeError(f"module 'ffkernels' has no attribute {name!r}")
