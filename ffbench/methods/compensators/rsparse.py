"""Low-rank weights for the skipped neurons, after R-Sparse (arXiv 2504.19449); training-free."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ffbench.methods.compensators.base import (
    Act,
    Compensator,
    CompensatorState,
    FitInputs,
    Runtime,
    compensator,
)
from ffbench.methods.groups import Kept
from ffbench.methods.linalg import Moments, truncated_svd
from ffbench.methods.registry import at_least
from ffbench.methods.tensors import NEURON, Axes

NO_ACT: Act = torch.nn.Identity()


@dataclass(frozen=True)
class LowRankWeightsRuntime(Runtime):
    """Skipped neurons through the truncated SVDs of the three matrices, in the model's dtype."""

    factors: tuple[Tensor, ...] = ()
    hot: int = 0
    act: Act = NO_ACT

    reads_kept: ClassVar[bool] = True

    def add_skipped(
        self, y: Tensor, x: Tensor, z: Tensor | None, kept: Kept, block_size: int
    ) -> Tensor:
        """Y plus the low-rank FFN of x [T, d] with the kept neurons set to zero."""
        gate, gate_in, up, up_in, down, down_out = self.factors
        hidden = self.act((x @ gate_in.T) @ gate.T) * ((x @ up_in.T) @ up.T)
        hidden[:, : self.hot] = 0
        for row, start in zip(kept, range(0, len(x), block_size), strict=True):
            hidden[start : start + block_size].index_fill_(1, row.long(), 0)
        return y + (hidden @ down) @ down_out.T


@dataclass(frozen=True, kw_only=True)
class LowRankWeightsState(CompensatorState):
    """W ~ left right for gate and up [f, d]; Wd^T ~ down [f, r] down_out^T, down_out [d, r]."""

    gate_left: Tensor
    gate_right: Tensor
    up_left: Tensor
    up_right: Tensor
    down_left: Tensor
    down_right: Tensor

    axes: ClassVar[Axes] = {
        "gate_left": (NEURON, "rank"),
        "gate_right": ("rank", "input"),
        "up_left": (NEURON, "rank"),
        "up_right": ("rank", "input"),
        "down_left": (NEURON, "rank"),
        "down_right": ("output", "rank"),
    }

    def estimate(self, x: Tensor) -> Tensor:
        """Zeros: selectors rank neurons by their whole energy."""
        return torch.zeros(len(x), len(self.gate_left), device=x.device)

    def explained_energy(self, moments: Moments) -> Tensor:
        """Zeros."""
        return torch.zeros_like(moments.aa)

    def runtime(self, w_down_t: Tensor, hot: int, act: Act) -> LowRankWeightsRuntime:
        """The factors in the model's dtype."""
        factors = tuple(t.to(w_down_t.device, w_down_t.dtype) for t in self.own_tensors().values())
        return LowRankWeightsRuntime(factors=factors, hot=hot, act=act)

    def flops(self, d: int, kept: int, hot: int) -> float:
        """Both factors of three matrices for all neurons."""
        f, rank = self.gate_left.shape
        return 6.0 * rank * (d + f)


@compensator
@dataclass(frozen=True)
class LowRankWeights(Compensator):
    """Skipped neurons through truncated SVDs of gate, up and down.

    R-Sparse sends the large inputs of a matrix through the matrix and the rest through its
    truncated SVD. Here the skipped neurons are the rest: our transfer to blocks of tokens.
    """

    name: ClassVar[str] = "rsparse"
    state_type: ClassVar[type[LowRankWeightsState]] = LowRankWeightsState
    closed_form: ClassVar[tuple[str, ...]] = ("rank",)
    for_token_rules: ClassVar[bool] = False

    rank: int = 128

    def problems(self) -> list[str]:
        """A rank below 1."""
        return at_least("rank", self.rank, 1)

    def size_problems(self, d: int, f: int) -> list[str]:
        """A rank above the smaller side of the FFN."""
        limit = min(d, f)
        if self.rank <= limit:
            return []
        return [f"compensator.rank: {self.rank} is not in 1..{limit} (the smaller side of the FFN)"]

    def fit(self, inputs: FitInputs) -> LowRankWeightsState:
        """Truncated SVDs of the weights. Raises ValueError if the rank is not in 1..min(d, f)."""
        f, d = inputs.w_gate.shape
        if problems := self.size_problems(d, f):
            raise ValueError("; ".join(problems))
        gate, up, down = (
            truncated_svd(w, self.rank) for w in (inputs.w_gate, inputs.w_up, inputs.w_down)
        )
        return LowRankWeightsState(
            gate_left=gate[0],
            gate_right=gate[1],
            up_left=up[0],
            up_right=up[1],
            down_left=down[1].T.contiguous(),
            down_right=down[0].contiguous(),
        )

    def random_state(self, d: int, f: int, draw: Callable[..., Tensor]) -> LowRankWeightsState:
        """Random factors of the same rank."""
        r = self.rank
        return LowRankWeightsState(
            gate_left=draw(f, r),
            gate_right=draw(r, d),
            up_left=draw(f, r),
            up_right=draw(r, d),
            down_left=draw(f, r),
            down_right=draw(d, r),
        )
