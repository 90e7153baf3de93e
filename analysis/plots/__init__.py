"""Figures from the frames of `analysis.load` and `analysis.benches`; each writes PNG and SVG, or says what it lacks."""

from analysis.plots.by_layer import layer_density, layer_recall, union
from analysis.plots.by_task import length_buckets, longbench, task_scores
from analysis.plots.common import NothingToDraw
from analysis.plots.kernels import kernel_speedups, last_lines, roofline
from analysis.plots.quality import block_size, loss_by_sparsity, pareto
from analysis.plots.speed import speed_by_length, speed_by_shape

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
    "union",
]
