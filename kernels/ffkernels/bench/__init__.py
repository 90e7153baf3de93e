"""Benchmark of the kernels: `python -m ffkernels.bench`."""
