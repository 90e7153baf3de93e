"""Methods as settings: the configuration node of each, and the names of their parameters."""

from typing import Any

from ffbench.methods.chosen import selector_defaults
from ffbench.methods.compensators import COMPENSATORS
from ffbench.methods.schedulers import SCHEDULERS

GROUPS = ("selector", "compensator", "scheduler")


def method_defaults() -> dict[str, dict[str, dict[str, Any]]]:
    """Settings group -> method -> its node: the name and the default of every parameter."""
    return {
        "selector": selector_defaults(),
        "compensator": COMPENSATORS.defaults(),
        "scheduler": SCHEDULERS.defaults(),
    }


def parameter_keys() -> list[str]:
    """Dotted names of every parameter of any method."""
    keys = {
        f"{group}.{parameter}"
        for group, nodes in method_defaults().items()
        for node in nodes.values()
        for parameter in node
        if parameter != "name"
    }
    return sorted(keys)


def is_parameter(key: str) -> bool:
    """Whether a dotted name belongs to a method's parameters."""
    return key.partition(".")[0] in GROUPS and "." in key
