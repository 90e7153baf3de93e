"""The entry point of vLLM's general plugins.

vLLM calls `register` in each of its processes before it knows its configuration. So it only adds
one step to the check of a configuration, which looks for a plan and does nothing without one. Until
then nothing is imported but the standard library and vllm.config, which vLLM has imported.
"""

import sys
from functools import wraps
from importlib import import_module
from typing import Any

PREFIX = "ffbench"
MARK = "_ffbench_checks_plan"
CHECK = "try_verify_and_update_config"


def register() -> None:
    """Let every configuration that vLLM makes from now on be checked for a plan."""
    config_class: Any = import_module("vllm.config").VllmConfig
    check = getattr(config_class, CHECK, None)
    if check is None:
        unsupported()
    elif not getattr(check, MARK, False):
        setattr(config_class, CHECK, with_plan(check))


def with_plan(check: Any) -> Any:
    """`check`, followed by the plan's own checks if the configuration names a plan."""

    @wraps(check)
    def checked(config: Any) -> None:
        check(config)
        if names_plan(config.additional_config):
            from ffbench.integrations.vllm.start import start

            start(config)

    setattr(checked, MARK, True)
    return checked


def names_plan(additional: Any) -> bool:
    """Whether an additional_config has a key of ours."""
    return isinstance(additional, dict) and any(str(key).startswith(PREFIX) for key in additional)


def unsupported() -> None:
    """A vLLM whose configuration has no such step: refused if the command line names a plan."""
    if any(f"{PREFIX}_plan" in word for word in sys.argv):
        sys.exit(
            f"error: ffbench_plan: this release of vLLM has no VllmConfig.{CHECK}, so the plan "
            "would not run; docs/serving.md says which releases are covered"
        )
