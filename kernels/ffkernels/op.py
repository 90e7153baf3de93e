"""The torch operator `ffkernels::sparse_gated_ffn`: a single node for torch.compile, with shapes
for fake tensors.

It is registered directly and not with `torch.library.custom_op`, whose wrapper costs more per call
than a small layer takes on a GPU.
"""

import torch
from torch import Tensor

from ffkernels import activations, backends, checks
from ffkernels.problem import Problem

SCHEMA = (
    "sparse_gated_ffn(Tensor x, Tensor w_gate, Tensor w_up, Tensor w_down_t, Tensor indices, "
    "Tensor? offsets, SymInt block_size, SymInt hot, str activation, Tensor? z, Tensor? v, "
    "Tensor? c, Tensor? extra, Tensor? w_extra, SymInt group, str backend) -> Tensor"
)
_library = torch.library.Library("ffkernels", "DEF")
_library.define(SCHEMA, tags=(torch.Tag.pt2_compliant_tag, torch.Tag.needs_exact_strides))


def _run(
    x: Tensor,
    w_gate: Tensor,
    w_up: Tensor,
    w_down_t: Tensor,
    indices: Tensor,
    offsets: Tensor | None,
    block_size: int,
    hot: int,
    activation: str,
    z: Tensor | None,
    v: Tensor | None,
    c: Tensor | None,
    extra: Tensor | None,
    w_extra: Tensor | None,
    group: int,
    backend: str,
) -> Tensor:
    """Check the index values and run the backend; `ffkernels.api` has made the other checks."""
    if checks.values_are_checked(x.device):
        checks.check_indices(indices, offsets, hot, w_gate.shape[0], group)
    problem = Problem(
        x=x,
        w_gate=w_gate,
        w_up=w_up,
        w_down_t=w_down_t,
        indices=indices,
        offsets=offsets,
        block_size=block_size,
        hot=hot,
        activation=activation,
        z=z,
        v=v,
        c=c,
        extra=extra,
        w_extra=w_extra,
        group=group,
    )
    problem = problem.normalized(activations.canonical(activation))
    module = backends.load(backend, x, problem.even_block)
    return module.sparse(problem)  # type: ignore[no-any-return]


def _fake(x: Tensor, *_: object) -> Tensor:
    """Shape and dtype of the result."""
    return torch.empty_like(x, memory_format=torch.contiguous_format)


_library.impl("sparse_gated_ffn", _run, "CompositeExplicitAutograd")
torch.library.register_fake("ffkernels::sparse_gated_ffn", _fake, lib=_library)
sparse_op = torch.ops.ffkernels.sparse_gated_ffn.default
