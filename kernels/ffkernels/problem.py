"""The checked description of one call, handed to a backend."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor


class Run(NamedTuple):
    """Neighbouring blocks that keep the same neurons.

    They keep `indices.flatten()[first : first + neurons]`, for the tokens [start, end).
    """

    first: int
    neurons: int
    start: int
    end: int


class Scales(NamedTuple):
    """Factors of int8 rows: the weight of neuron j is row j times the j-th factor; float32 [f]."""

    gate: Tensor
    up: Tensor
    down: Tensor
    v: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One block-sparse gated FFN; every field has passed `ffkernels.checks`.

    x [T, d]; w_gate, w_up, w_down_t [f, d] with unit stride in d. `indices` is int32 and
    contiguous: [blocks, K], or [sum of K] with `offsets` int32 [blocks + 1], where block b keeps
    the entries offsets[b] to offsets[b + 1]. blocks is ceil(T / block_size); the entries of a block
    are strictly increasing, in [hot, f). z [T, r], v [f, r], c [f] or None; extra [T, q] with
    w_extra [q, d], or None. With `group` above 1 a block keeps whole groups: `group` neighbours,
    the first a multiple of `group`. With `scales` the matrices and v are int8; x, z and c are
    float32, and there is nothing extra.
    """

    x: Tensor
    w_gate: Tensor
    w_up: Tensor
    w_down_t: Tensor
    indices: Tensor
    offsets: Tensor | None = None
    block_size: int
    hot: int = 0
    activation: str = "silu"
    z: Tensor | None = None
    v: Tensor | None = None
    c: Tensor | None = None
    extra: Tensor | None = None
    w_extra: Tensor | None = None
    group: int = 1
    scales: Scales | None = None

    @property
    def blocks(self) -> int:
        """Number of blocks of tokens."""
        return -(-self.x.shape[0] // self.block_size)

    @property
    def even_block(self) -> int | None:
        """Tokens of a block if every block keeps the same number of dynamic neurons, above 0."""
        if self.offsets is not None or not self.indices.shape[-1]:
            return None
        return min(self.block_size, self.x.shape[0])

    @property
    def has_extra(self) -> bool:
        """Whether features of the tokens are multiplied into the output."""
        return self.extra is not None and self.extra.shape[1] > 0

    def add_extra(self, y: Tensor) -> Tensor:
        """Output y [T, d] with extra W_extra added in place, by torch."""
        if self.extra is not None and self.w_extra is not None and self.has_extra:
            y.addmm_(self.extra, self.w_extra)
        return y

    def normalized(self, activation: str) -> "Problem":
        """The same call with contiguous int32 indices and the canonical name of its activation."""
        offsets = self.offsets
        return replace(
            self,
            indices=self.indices.to(torch.int32).contiguous(),
            offsets=None if offsets is None else offsets.to(torch.int32).contiguous(),
            activation=activation,
        )

    def dequantized(self) -> "Problem":
        """The same call with the float32 weights that its int8 rows and scales stand for."""
        if self.scales is None:
            return self
        gate, up, down, v = self.scales
        return replace(
            self,
            w_gate=self.w_gate.float() * gate[:, None],
            w_up=self.w_up.float() * up[:, None],
            w_down_t=self.w_down_t.float() * down[:, None],
            v=None if self.v is None or v is None else self.v.float() * v[:, None],
            scales=None,
        )

    def bounds(self) -> list[int]:
        """First position of each block in the flat indices, and their end; reads `offsets`."""
        if self.offsets is not None:
            return [int(at) for at in self.offsets.tolist()]
        kept = self.indices.shape[1]
        return [block * kept for block in range(self.blocks + 1)]

    def kept(self) -> list[Tensor]:
        """Dynamic neurons int32 [K] of each block; reads `offsets`."""
        flat, bounds = self.indices.flatten(), self.bounds()
        return [flat[bounds[b] : bounds[b + 1]] for b in range(self.blocks)]

    def runs(self) -> list[Run]:
        """Merge neighbouring blocks that keep the same neurons.

        Blocks on a GPU are not merged: comparing them would make the host wait.
        """
        tokens, bounds, same = self.x.shape[0], self.bounds(), self._same_as_previous()
        runs: list[Run] = []
        for b in range(self.blocks):
            start, end = b * self.block_size, min((b + 1) * self.block_size, tokens)
            if same[b]:
                runs[-1] = runs[-1]._replace(end=end)
            else:
                runs.append(Run(bounds[b], bounds[b + 1] - bounds[b], start, end))
        return runs

    def _same_as_previous(self) -> list[bool]:
        """Whether each block keeps the same neurons as the one before it."""
        same = [False] * self.blocks
        if self.blocks < 2 or self.x.device.type != "cpu":
            return same
        if self.offsets is None:
            same[1:] = (self.indices[1:] == self.indices[:-1]).all(1).tolist()
        else:
            kept = self.kept()
            same[1:] = [kept[b].equal(kept[b - 1]) for b in range(1, self.blocks)]
        return same
