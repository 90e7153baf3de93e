"""GPU backend in Triton: two launches for the dynamic neurons, one more if there is a hot set.

The modules of this package import the `triton` package by its absolute name; this package is
`ffkernels.triton`.
"""

from ffkernels.triton.launch import better, refusal, sparse, unavailable

__all__ = ["better", "refusal", "sparse", "unavailable"]
