"""Selectors and token rules by one name: both choose what a prompt computes."""

from collections.abc import Mapping
from typing import Any

from ffbench.methods.compensators import COMPENSATORS
from ffbench.methods.registry import MethodError
from ffbench.methods.schedulers import SCHEDULERS
from ffbench.methods.selectors import SELECTORS, Selector
from ffbench.methods.token_rules import TOKEN_RULES, TokenRule
from ffbench.suggestions import unknown_name


def registered_methods() -> set[str]:
    """KIND NAME of every registered method."""
    registries = (SELECTORS, TOKEN_RULES, COMPENSATORS, SCHEDULERS)
    return {f"{registry.group} {name}" for registry in registries for name in registry}


def selector_defaults() -> dict[str, dict[str, Any]]:
    """Settings nodes of every selector and token rule."""
    return SELECTORS.defaults() | TOKEN_RULES.defaults()


def make_selector(node: Mapping[str, Any]) -> Selector | TokenRule:
    """The selector or token rule that a settings node names. Raises MethodError."""
    name = str(node.get("name"))
    if name in SELECTORS:
        return SELECTORS.make(node)
    if name in TOKEN_RULES:
        return TOKEN_RULES.make(node)
    raise MethodError([unknown_name("selector", name, [*SELECTORS, *TOKEN_RULES])])
