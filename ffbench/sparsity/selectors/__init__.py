"""Selectors: which neurons a block keeps. Every module of this package is found and registers what it defines."""

from importlib import import_module
from pkgutil import iter_modules

from ffbench.sparsity.selectors.registry import SELECTORS, Scene, Selector, selector

__all__ = ["SELECTORS", "Scene", "Selector", "selector"]

for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")
