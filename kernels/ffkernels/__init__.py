"""Block-sparse gated feed-forward kernels. Importing this package does not import torch."""

import importlib
from typing import Any

__version__ = "0.1.0"
_MODULES = {
    "available_backends": "ffkernels.api",
    "dense_gated_ffn": "ffkernels.api",
    "sparse_gated_ffn": "ffkernels.api",
    "dense_gated_ffn_int8": "ffkernels.int8",
    "sparse_gated_ffn_int8": "ffkernels.int8",
    "block_means": "ffkernels.select",
    "keep_largest": "ffkernels.select",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """Load the public functions (and with them torch) on first use."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'ffkernels' has no attribute {name!r}")
