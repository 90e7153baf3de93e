"""What makes each generated part and picture of the documentation.

To add a part: a function from the checkout's path to Markdown, a line here, two marks in a page.
"""

from collections.abc import Callable
from pathlib import Path

from tools.docs import (
    architecture,
    baselines,
    fields,
    gold,
    growth,
    kernels,
    leaderboard,
    longbench,
    peers,
    prefill_time,
    results,
    serving,
    stages,
)

PARTS: dict[str, Callable[[Path], str]] = {
    "results": results.headline,
    "test_part": results.test_part,
    "longbench": results.longbench,
    "kernel_speedups": results.kernels,
    "shape_speedups": results.speeds,
    "longbench_tasks": longbench.sections,
    "longbench_gold": gold.section,
    "leaderboard": leaderboard.table,
    "stages": stages.table,
    "result_fields": fields.result,
    "renamed_methods": fields.renamed,
    "frames": fields.frames,
    "kernels": kernels.kernels,
    "speed": kernels.speeds,
    "triton": kernels.triton,
    "peers": peers.table,
    "growth": growth.table,
    "serving": serving.table,
    "prefill_profile": prefill_time.profile,
    "stage_rates": prefill_time.stage_rates,
    **baselines.PARTS,
}
# name -> place in the checkout, and what draws it there
PICTURES: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    "pareto": ("docs/pareto.svg", results.pareto),
    "architecture": ("docs/architecture.svg", architecture.draw),
}
