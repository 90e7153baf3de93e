"""Token rules: published per-token rules, for accuracy only. One class per file."""

import sys

from ffbench.methods.registry import import_methods
from ffbench.methods.token_rules.base import TOKEN_RULES, TokenInputs, TokenRule

__all__ = ["TOKEN_RULES", "TokenInputs", "TokenRule"]

import_methods(sys.modules[__name__])
