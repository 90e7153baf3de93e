"""Schedulers: how the kept neurons are shared by the layers. One class per file."""

import sys

from ffbench.methods.registry import import_methods
from ffbench.methods.schedulers.base import (
    SCHEDULERS,
    LayerMeasurements,
    Scheduler,
    by_width,
    schedule,
)

__all__ = ["SCHEDULERS", "LayerMeasurements", "Scheduler", "by_width", "schedule"]

import_methods(sys.modules[__name__])
