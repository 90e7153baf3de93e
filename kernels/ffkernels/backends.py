"""Which backend exists here and which one `auto` picks. Backends are imported only when used."""

import importlib
from types import ModuleType

from torch import Tensor

MODULES = {
    "reference": "ffkernels.reference",
    "torch": "ffkernels.torch_backend",
    "native": "ffkernels.native",
}


def available_backends() -> dict[str, str]:
    """Map each backend name to "available" or to the reason why it cannot run here."""
    return {name: _state(name) for name in MODULES}


def _state(name: str) -> str:
    module = importlib.import_module(MODULES[name])
    probe = getattr(module, "unavailable", None)
    return (probe() if probe else None) or "available"


def _refusal(module: ModuleType, x: Tensor) -> str | None:
    """Return why this backend cannot take x, or None."""
    probe = getattr(module, "refusal", None)
    return probe(x) if probe else None


def load(name: str, x: Tensor) -> ModuleType:
    """Return the module of the backend `name` for x.

    "auto" takes triton on CUDA, native on CPU where they can run, else torch. ValueError for an unknown name or
    for a named backend that cannot run this input here.
    """
    if name == "auto":
        for fast in ("triton", "native"):
            if fast in MODULES:
                module = importlib.import_module(MODULES[fast])
                if _refusal(module, x) is None:
                    return module
        return importlib.import_module(MODULES["torch"])
    if name not in MODULES:
        raise ValueError(f"backend: expected auto, {', '.join(MODULES)}; received {name!r}")
    module = importlib.import_module(MODULES[name])
    reason = _refusal(module, x)
    if reason:
        raise ValueError(f"backend: expected one that can run this input, received {name!r}: {reason}")
    return module


def name_of(module: ModuleType) -> str:
    """Return the public name of a loaded backend."""
    return next(name for name, path in MODULES.items() if path == module.__name__)
