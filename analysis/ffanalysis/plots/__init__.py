"""Pictures from the frames of `ffanalysis.load` and `ffanalysis.benches`: each writes PNG and SVG,
or says what it lacks.
"""

from ffanalysis.plots.by_layer import layer_density, layer_recall, token_overlap
from ffanalysis.plots.by_setting import block_size, loss_by_sparsity
from ffanalysis.plots.by_task import length_buckets, longbench, task_scores
from ffanalysis.plots.common import NothingToDraw
from ffanalysis.plots.fronts import pareto
from ffanalysis.plots.kernels import kernel_speedups, last_lines, roofline
from ffanalysis.plots.speed import speed_by_length, speed_by_shape

__all__ = [
    "NothingToDraw",
    "block_size",
    "kernel_speedups",
    "last_lines",
    "layer_density",
    "layer_recall",
    "length_buckets",
    "longbench",
    "loss_by_sparsity",
    "pareto",
    "roofline",
    "speed_by_length",
    "speed_by_shape",
    "task_scores",
    "token_overlap",
]
