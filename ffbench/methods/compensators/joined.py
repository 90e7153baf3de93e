"""A compensation whose whole output is linear in its features, for cards, where each launch and
each pass over the output counts (our design).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ffbench.methods.compensators.base import Runtime

MULTIPLE = 16  # features are padded to it, so that every row of them is aligned for a card


@dataclass(frozen=True, kw_only=True)
class JoinedRuntime(Runtime):
    """y + E (P x + e): the estimate of skipped neurons, the output map and both biases.

    projection P [q, d] has the estimate's `rank` rows first, then the output map's, then zeros;
    offset e [q] is 1 at the feature whose column of expansion E [d, q] is the bias, else 0. The
    kernel multiplies the features with E, which it reads as `output_rows` E^T [q, d].
    """

    rank: int
    projection: Tensor
    offset: Tensor

    @classmethod
    def of(cls, base: Runtime, projection: Tensor, expansion: Tensor, bias: Tensor) -> Runtime:
        """Join y + E P x + bias; projection P [n, d], expansion E [d, n], bias [d]. `base` gives
        what the kernel subtracts from kept neurons.
        """
        used = len(projection)
        room = -(used + 1) % MULTIPLE
        offset = projection.new_zeros(used + 1 + room)
        offset[used] = 1
        rows = torch.cat([expansion.T, bias.to(expansion.dtype)[None]])
        return cls(
            activation_map=base.activation_map,
            mean=base.mean,
            output_rows=functional.pad(rows, (0, 0, 0, room)),
            rank=0 if base.activation_map is None else base.activation_map.shape[1],
            projection=functional.pad(projection, (0, 0, 0, 1 + room)),
            offset=offset,
        )

    def features(self, x: Tensor) -> Tensor:
        """All features [T, q] of x [T, d]."""
        return torch.addmm(self.offset, x, self.projection.T)

    def estimating(self, z: Tensor) -> Tensor:
        """The estimate's own features [T, rank], a view."""
        return z[:, : self.rank]
