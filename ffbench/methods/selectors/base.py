"""What a selector is: it scores the neurons of a layer for each block before the FFN runs."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from torch import Tensor

from ffbench.methods.registry import Method, Registry
from ffbench.methods.selectors.predictor import Means
from ffbench.methods.tensors import Axes

if TYPE_CHECKING:
    from ffbench.methods.plan import LayerPlan


@dataclass(frozen=True)
class SelectorInputs:
    """What a selector may look at: one layer of one prompt.

    layer: the layer's plan; before [B, d]: inputs of the block ahead of the sparse ones (empty
    without one); blocks [n, B, d]: inputs of the sparse blocks; activations: maps inputs [T, d] to
    exact activations [T, f]; act: the gate's activation function; down_norms [f]: lengths of the
    down columns; seed: of this layer; scale: maps blocks [n, B, d] of sorted tokens to the
    predicted residual energy [n] of each over the mean, None for other blocks. The neurons of
    `layer`, `activations` and `down_norms` have the same order.
    """

    layer: "LayerPlan"
    before: Tensor
    blocks: Tensor
    activations: Callable[[Tensor], Tensor]
    act: Callable[[Tensor], Tensor]
    down_norms: Tensor
    seed: int
    scale: Callable[[Tensor], Tensor] | None = None


class LogRatios(NamedTuple):
    """Scores [n, f] as prior_j * exp(logs_ij), with the exponent cut to -limit..limit.

    logs [n, f] in any float type, prior float32 [f].
    """

    logs: Tensor
    prior: Tensor
    limit: float


@dataclass(frozen=True)
class Selector(Method, ABC):
    """A rule that scores the f neurons of a layer for each of n blocks; the best K are kept."""

    # axes of the tensors that `prepare` makes
    tensor_axes: ClassVar[Axes] = {}

    @property
    def needs_text_order(self) -> bool:
        """Whether the rule reads the block before, which blocks of similar tokens do not have."""
        return False

    @property
    def predictor_rank(self) -> int | None:
        """Rank of the predictor's map in a plan; None for the full map."""
        return None

    @property
    def reads_earlier_tokens(self) -> bool:
        """Whether the rule reads tokens ahead of a block, such as the dense ones that begin a
        prompt; a server that gets a prompt in chunks does not have them.
        """
        return self.needs_text_order

    @abstractmethod
    def scores(self, inputs: SelectorInputs) -> Tensor:
        """Scores [n, f] of the blocks; larger is kept first."""

    def log_ratios(self, layer: "LayerPlan", means: Means) -> LogRatios | None:
        """The same scores in the form that a card's kernel ranks, from the blocks' mean inputs;
        None if the rule has no such form.
        """
        return None

    def flops(self, layer: "LayerPlan", d: int, block_size: int) -> float:
        """FLOPs per token; 0 for a rule that computes nothing per block."""
        return 0.0

    def prepare(self, w_gate: Tensor, w_up: Tensor, w_down: Tensor) -> dict[str, Tensor]:
        """Tensors made once from the weights [f, d], [f, d] and [d, f]; see `tensor_axes`."""
        return {}

    def learned(self, layer: "LayerPlan") -> dict[str, Tensor]:
        """Parameters of the rule that tuning may change, by name; none by default."""
        return {}

    def log_scores(
        self, layer: "LayerPlan", blocks: Tensor, parameters: dict[str, Tensor]
    ) -> Tensor:
        """Logarithms of the scores [n, f] of blocks [n, B, d] by `parameters`, with gradients."""
        raise NotImplementedError(f"selector {self.name!r} has no parameters that tuning changes")

    def with_learned(self, layer: "LayerPlan", parameters: dict[str, Tensor]) -> "LayerPlan":
        """The layer's plan with tuned `parameters`."""
        return layer


SELECTORS: Registry[Selector] = Registry("selector")
selector = SELECTORS.add


def dense_gate_and_up(layer: "LayerPlan", d: int) -> float:
    """FLOPs per token of a rule that computes every exact activation first."""
    return 4.0 * d * len(layer.order)
