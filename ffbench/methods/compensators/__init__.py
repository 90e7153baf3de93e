"""Compensators: estimates of what skipped neurons would have added. One class per file."""

import sys

from ffbench.methods.compensators.base import COMPENSATORS, Compensator, CompensatorState, OutputMap
from ffbench.methods.registry import import_methods

__all__ = ["COMPENSATORS", "Compensator", "CompensatorState", "OutputMap"]

import_methods(sys.modules[__name__])
