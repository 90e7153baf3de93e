"""The checked description of one call, handed to a backend."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Problem:
    """One block-sparse gated FFN; every field has passed `ffkernels.checks`.

    x [T, d]; w_gate, w_up, w_down_t [f, d] with unit stride in d; indices int64
    [ceil(T/block_size), K], contiguous, rows strictly increasing, in [hot, f). z [T, r], v [f, r],
    c [f] or None. With `group` above 1 every row is made of whole groups: `group` neighbours, the
    first a multiple of `group`.
    """

    x: Tensor
    w_gate: Tensor
    w_up: Tensor
    w_down_t: Tensor
    indices: Tensor
    block_size: int
    hot: int
    activation: str
    z: Tensor | None = None
    v: Tensor | None = None
    c: Tensor | None = None
    group: int = 1

    def runs(self) -> list[tuple[int, int, int]]:
        """Merge neighbouring blocks with equal index rows: (row of indices, first token, end
        token).
        """
        n, tokens = self.indices.shape[0], self.x.shape[0]
        same = [False] * n
        if n > 1:
            same[1:] = (self.indices[1:] == self.indices[:-1]).all(1).tolist()
        out: list[tuple[int, int, int]] = []
        for b in range(n):
            start, end = b * self.block_size, min((b + 1) * self.block_size, tokens)
            if same[b]:
                row, start, _ = out.pop()
                out.append((row, start, end))
            else:
                out.append((b, start, end))
        return out
