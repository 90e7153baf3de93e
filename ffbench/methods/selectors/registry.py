"""The registry of selectors, and what a selector may look at."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ffbench.methods.plan import LayerPlan

SELECTORS: dict[str, "Selector"] = {}


@dataclass
class Scene:
    """What a selector may look at: one layer of one prompt.

    before [B, d]: the block ahead of the sparse ones (empty when there is none); blocks [n, B, d]:
    the sparse blocks' inputs; activations: maps inputs [T, d] to exact activations [T, f]; act: the
    gate's activation function; down_norms [f]. Tensors of `layer` are in the order of the neurons
    that `activations` gives.
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
    """The cost of a selector that looks at every exact activation first: the whole gate and up
    products.
    """
    return 4.0 * d * len(layer.order)


@dataclass
class TokenScene:
    """What a per-token rule may look at: one layer's inputs x [T, d], its weights [f, d] and [d,
    f], and its plan.
    """

    layer: LayerPlan
    x: Tensor
    w_gate: Tensor
    w_up: Tensor
    w_down: Tensor
    act: Callable[[Tensor], Tensor]

    @property
    def density(self) -> float:
        """Share of the layer's neurons that the schedule grants."""
        return self.layer.kept / len(self.layer.order)


@dataclass(frozen=True)
class Selector:
    """A rule that scores the f neurons of a layer for each of n blocks; the best K of a block are
    kept.

    score: Scene -> [n, f], larger is kept first. flops: (layer, d, block size) -> FLOPs a token.
    prepare: (w_gate, w_up, w_down) -> tensors that go into `layer.extra`; names that begin with
    `neuron_` have one row a neuron.

    A per-token rule has `hidden` in place of `score`: TokenScene -> (what goes into the down
    product [T, f], share of the FFN's work that a kernel with such masks would have done). It has
    no block-wise form, so it is measured for accuracy only and never timed. `skips_inputs`: it
    leaves out inputs of the matrices instead of neurons.
    """

    name: str
    score: Callable[[Scene], Tensor] | None
    flops: Callable[[LayerPlan, int, int], float] = free
    prepare: Callable[[Tensor, Tensor, Tensor], dict[str, Tensor]] | None = None
    hidden: Callable[[TokenScene], tuple[Tensor, float]] | None = None
    skips_inputs: bool = False

    @property
    def block_wise(self) -> bool:
        """True where whole blocks keep the same neurons, which is what the kernels compute."""
        return self.hidden is None

    def __call__(self, scene: Scene) -> Tensor:
        """Scores [n, f] of the scene's blocks. Raises TypeError for a per-token rule."""
        if self.score is None:
            raise TypeError(f"selector {self.name!r} works token by token and scores no blocks")
        return self.score(scene)


def selector(
    name: str,
    flops: Callable[[LayerPlan, int, int], float] = free,
    prepare: Callable[[Tensor, Tensor, Tensor], dict[str, Tensor]] | None = None,
) -> Callable:
    """Register a scoring function as the selector `name`. Raises ValueError for a name that is
    taken.
    """

    def add(function: Callable[[Scene], Tensor]) -> Callable[[Scene], Tensor]:
        register(Selector(name, function, flops, prepare))
        return function

    return add


def token_rule(
    name: str, flops: Callable[[LayerPlan, int, int], float] = free, skips_inputs: bool = False
) -> Callable:
    """Register a function as the per-token rule `name`. Raises ValueError for a name that is
    taken.
    """

    def add(
        function: Callable[[TokenScene], tuple[Tensor, float]],
    ) -> Callable[[TokenScene], tuple[Tensor, float]]:
        register(Selector(name, None, flops, None, function, skips_inputs))
        return function

    return add


def register(one: Selector) -> None:
    """Add a selector to SELECTORS. Raises ValueError for a name that is taken."""
    if one.name in SELECTORS:
        raise ValueError(f"selector {one.name!r} is registered twice")
    SELECTORS[one.name] = one
