"""Which backend exists here and which one `auto` picks. Backends are imported only when used."""

import importlib
from types import ModuleType

from torch import Tensor

MODULES = {
    "reference": "ffkernels.reference",
    "torch": "ffkernels.torch_backend",
    "native": "ffkernels.native",
    "triton": "ffkernels.triton_backend",
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


def _refusal(name: str, x: Tensor) -> str | None:
    """Return why the backend cannot take x, or None."""
    module, reason = _import(name)
    probe = getattr(module, "refusal", None)
    return reason or (probe(x) if probe else None)


def load(name: str, x: Tensor) -> ModuleType:
    """Return the module of the backend `name` for x.

    "auto" takes triton on CUDA and native on the CPU where they run and are the faster choice, else
    torch. ValueError for an unknown name or for a named backend that cannot run this input here.
    """
    if name == "auto":
        fast = FAST.get(x.device.type)
        if fast and _refusal(fast, x) is None:
            module = importlib.import_module(MODULES[fast])
            slower = getattr(module, "slower", None)
            if not (slower and slower(x)):
                return module
        name = "torch"
    if name not in MODULES:
        raise ValueError(f"backend: expected auto, {', '.join(MODULES)}; received {name!r}")
    reason = _refusal(name, x)
    if reason:
        raise ValueError(
            f"backend: expected one that can run this input, received {name!r}: {reason}"
        )
    return importlib.import_module(MODULES[name])


def name_of(module: ModuleType) -> str:
    """Return the public name of a loaded backend."""
    return next(name for name, path in MODULES.items() if path == module.__name__)
