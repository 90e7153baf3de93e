"""Selectors: which neurons a block keeps. One family per file."""

import sys

from ffbench.methods.registry import import_methods
from ffbench.methods.selectors.base import SELECTORS, Selector, SelectorInputs

__all__ = ["SELECTORS", "Selector", "SelectorInputs"]

import_methods(sys.modules[__name__])
