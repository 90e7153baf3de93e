"""Selectors: which neurons a block keeps. Every module of this package is found and registers what
it defines.
"""

from importlib import import_module
from pkgutil import iter_modules

from ffbench.methods.plan import SparsePlan
from ffbench.methods.selectors.registry import (
    SELECTORS,
    Scene,
    Selector,
    TokenScene,
    selector,
    token_rule,
)

__all__ = ["SELECTORS", "Scene", "Selector", "TokenScene", "selector", "token_rule", "untimed"]


def untimed(plan: SparsePlan) -> str | None:
    """Why a plan's speed means nothing, or None where it can be measured."""
    if SELECTORS[plan.settings.selector].block_wise:
        return None
    return f"selector {plan.settings.selector} works token by token; it is computed dense, for accuracy only"


for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")
