"""The registry of selectors, and what a selector may look at."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ffbench.sparsity.plan import LayerPlan

SELECTORS: dict[str, "Selector"] = {}


@dataclass
class Scene:
    """What a selector may look at: one layer of one prompt.

    before [B, d]: the block ahead of the sparse ones (empty when there is none); blocks [n, B, d]: the sparse
    blocks' inputs; activations: maps inputs [T, d] to exact activations [T, f]; act: the gate's activation function;
    down_norms [f]. Tensors of `layer` are in the order of the neurons that `activations` gives.
    """

    layer: LayerPlan
    before: Tensor
    blocks: Tensor
    activations: Callable[[Tensor], Tensor]
    act: Callable[[Tensor], Tensor]
    down_norms: Tensor
    seed: int


def free(layer: LayerPlan, d: int, block: int) -> float:
    """The cost of a selector that computes nothing for a block."""
    return 0.0


def exact(layer: LayerPlan, d: int, block: int) -> float:
    """The cost of a selector that looks at every exact activation first: the whole gate and up products."""
    return 4.0 * d * len(layer.order)


@dataclass(frozen=True)
class Selector:
    """A rule that scores the f neurons of a layer for each of n blocks; the best K of a block are kept.

    score: Scene -> [n, f], larger is kept first. flops: (layer, d, block size) -> FLOPs a token. prepare: (w_gate,
    w_up, w_down) -> tensors that go into `layer.extra`; names that begin with `neuron_` have one row a neuron.
    """

    name: str
    score: Callable[[Scene], Tensor]
    flops: Callable[[LayerPlan, int, int], float] = free
    prepare: Callable[[Tensor, Tensor, Tensor], dict[str, Tensor]] | None = None

    def __call__(self, scene: Scene) -> Tensor:
        """Scores [n, f] of the scene's blocks."""
        return self.score(scene)


def selector(name: str, flops: Callable[[LayerPlan, int, int], float] = free,
             prepare: Callable[[Tensor, Tensor, Tensor], dict[str, Tensor]] | None = None) -> Callable:
    """Register a scoring function as the selector `name`. Raises ValueError for a name that is taken."""

    def add(function: Callable[[Scene], Tensor]) -> Callable[[Scene], Tensor]:
        if name in SELECTORS:
            raise ValueError(f"selector {name!r} is registered twice")
        SELECTORS[name] = Selector(name, function, flops, prepare)
        return function

    return add
