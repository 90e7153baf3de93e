"""A compensation as one product per token, for cards, where each launch and each pass over the
output counts (our design).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ffbench.methods.compensators.base import Runtime
from ffbench.methods.groups import Kept

MULTIPLE = 16  # features are padded to it, so that every row of them is aligned for a card


@dataclass(frozen=True, kw_only=True)
class JoinedRuntime(Runtime):
    """y + E (P x + e): the estimate of skipped neurons, the output map and both biases.

    projection P [q, d] has the estimate's `rank` rows first, then the output map's, then zeros;
    offset e [q] is 1 at the feature whose column of expansion E [d, q] is the bias, else 0.
    """

    rank: int
    projection: Tensor
    offset: Tensor
    expansion: Tensor

    @classmethod
    def of(cls, base: Runtime, projection: Tensor, expansion: Tensor, bias: Tensor) -> Runtime:
        """Join y + E P x + bias; projection P [n, d], expansion E [d, n], bias [d]. `base` gives
        what the kernel subtracts from kept neurons.
        """
        assert base.activation_map is not None
        used = len(projection)
        room = -(used + 1) % MULTIPLE
        offset = projection.new_zeros(used + 1 + room)
        offset[used] = 1
        column = bias.to(expansion.dtype)[:, None]
        return cls(
            activation_map=base.activation_map,
            mean=base.mean,
            rank=base.activation_map.shape[1],
            projection=functional.pad(projection, (0, 0, 0, 1 + room)),
            offset=offset,
            expansion=functional.pad(torch.cat([expansion, column], 1), (0, room)),
        )

    def features(self, x: Tensor) -> Tensor:
        """All features [T, q] of x [T, d]."""
        return torch.addmm(self.offset, x, self.projection.T)

    def estimating(self, z: Tensor) -> Tensor:
        """The estimate's own features [T, rank], a view."""
        return z[:, : self.rank]

    def add_skipped(
        self, y: Tensor, x: Tensor, z: Tensor | None, kept: Kept, block_size: int
    ) -> Tensor:
        """Everything that is added to the output y [T, d]; z [T, q]."""
        return y if z is None else y.addmm_(z, self.expansion.T)
