"""What else went on while a speed was measured."""

import os
from typing import Any

from ffbench.runs.provenance import clock_mhz

BUSY_LOAD = 0.5  # average running processes besides ours from which times are not to be trusted


def machine_state(load_before: float, threads: int) -> dict[str, Any]:
    """Load average before a measurement on `threads` threads that has just ended, and now; whether
    other work ran; the processor's clock.
    """
    after = os.getloadavg()[0]
    return {
        "load_before": load_before,
        "load_after": after,
        "busy": after > threads + BUSY_LOAD,
        "clock_mhz": clock_mhz(),
    }
