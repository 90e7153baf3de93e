"""The specification in plain torch: float64 arithmetic, block after block, no optimisation."""

from torch import Tensor

from ffkernels.activations import activate
from ffkernels.problem import Problem


def sparse(p: Problem) -> Tensor:
    """Return y [T, d] in the dtype of x, computed in float64 and rounded once."""
    x, wg, wu, wd = (t.double() for t in (p.x, p.w_gate, p.w_up, p.w_down_t))
    hot = slice(0, p.hot)
    y = (activate(p.activation, x @ wg[hot].T) * (x @ wu[hot].T)) @ wd[hot]
    for block, kept in enumerate(p.kept()):
        rows = slice(block * p.block_size, (block + 1) * p.block_size)
        h = activate(p.activation, x[rows] @ wg[kept].T) * (x[rows] @ wu[kept].T)
        if p.z is not None and p.v is not None:
            h = h - p.z[rows].double() @ p.v[kept].double().T
        if p.c is not None:
            h = h - p.c[kept].double()
        y[rows] += h @ wd[kept]
    if p.extra is not None and p.w_extra is not None:
        y += p.extra.double() @ p.w_extra.double()
    return y.to(p.x.dtype)
