"""Which backends can run here and which one `auto` picks. A backend is imported when first used."""

import importlib
from types import ModuleType

from torch import Tensor

MODULES = {
    "reference": "ffkernels.reference",
    "torch": "ffkernels.gather",
    "gather_once": "ffkernels.gather_once",
    "native": "ffkernels.native",
    "triton": "ffkernels.triton",
}
FAST = {"cpu": "native", "cuda": "triton"}


def available_backends() -> dict[str, str]:
    """Map each backend name to "available" or to the reason why it cannot run here."""
    return {name: _state(name) for name in MODULES}


def _state(name: str) -> str:
    module, reason = _import(name)
    probe = getattr(module, "unavailable", None)
    return reason or (probe() if probe else None) or "available"


def _import(name: str) -> tuple[ModuleType | None, str | None]:
    """Import a backend: the module, or the reason why a package that it needs is missing."""
    try:
        return importlib.import_module(MODULES[name]), None
    except ModuleNotFoundError as error:
        return None, f"{error}"


def refusal(name: str, x: Tensor) -> str | None:
    """Return why the backend cannot take x, or None."""
    module, reason = _import(name)
    probe = getattr(module, "refusal", None)
    return reason or (probe(x) if probe else None)


def _fastest(x: Tensor, block_size: int | None) -> str:
    """Name of the backend that "auto" means for x."""
    fast = FAST.get(x.device.type)
    if fast is None or refusal(fast, x) is not None:
        return "torch"
    better = getattr(importlib.import_module(MODULES[fast]), "better", None)
    return (better(x, block_size) if better else None) or fast


def load(name: str, x: Tensor, block_size: int | None = None) -> ModuleType:
    """Return the module of the backend `name` for x.

    "auto" takes triton on CUDA and native on the CPU if they can run x and know no better backend
    for it, else torch. block_size: tokens of a block if every block keeps the same number of
    dynamic neurons, above 0; None for other calls. ValueError for an unknown name, or for a named
    backend that cannot run this input here.
    """
    if name == "auto":
        name = _fastest(x, block_size)
    if name not in MODULES:
        raise ValueError(f"backend: expected auto, {', '.join(MODULES)}; received {name!r}")
    reason = refusal(name, x)
    if reason:
        raise ValueError(
            f"backend: expected one that can run this input, received {name!r}: {reason}"
        )
    return importlib.import_module(MODULES[name])


def name_of(module: ModuleType) -> str:
    """Return the public name of a loaded backend."""
    return next(name for name, path in MODULES.items() if path == module.__name__)
