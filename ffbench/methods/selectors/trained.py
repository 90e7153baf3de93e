"""The trained predictor as a selector (our design)."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from ffbench.methods.selectors.base import LogRatios, Selector, SelectorInputs, selector
from ffbench.methods.selectors.predictor import LIMIT, Means, Predictor

if TYPE_CHECKING:
    from ffbench.methods.plan import LayerPlan


@selector
@dataclass(frozen=True)
class Trained(Selector):
    """Predicted residual energy of each block from its mean input (`Predictor`)."""

    name: ClassVar[str] = "trained"

    def flops(self, layer: "LayerPlan", d: int, block_size: int) -> float:
        """One map of the block's mean input, shared by its tokens."""
        return layer.predictor.flops(block_size) / block_size

    def scores(self, inputs: SelectorInputs) -> Tensor:
        """The predictor's scores."""
        return inputs.layer.predictor.scores(inputs.blocks)

    def log_ratios(self, layer: "LayerPlan", means: Means) -> LogRatios:
        """The predictor's logarithms over its prior."""
        predictor = layer.predictor
        return LogRatios(predictor.logs(means), predictor.prior, LIMIT)

    def learned(self, layer: "LayerPlan") -> dict[str, Tensor]:
        """The predictor's weights and the logarithm of its prior."""
        predictor = layer.predictor
        return {
            "predictor_weights": predictor.weights,
            "log_prior": predictor.prior.clamp_min(1e-30).log(),
        }

    def log_scores(
        self, layer: "LayerPlan", blocks: Tensor, parameters: dict[str, Tensor]
    ) -> Tensor:
        """Log prior + weights (mean of x over the block - mean)."""
        shift = layer.predictor.shift(blocks, parameters["predictor_weights"])
        return parameters["log_prior"] + shift

    def with_learned(self, layer: "LayerPlan", parameters: dict[str, Tensor]) -> "LayerPlan":
        """The layer's plan with the tuned predictor."""
        old = layer.predictor
        weights = parameters["predictor_weights"].detach().to(old.weights.dtype)
        prior = parameters["log_prior"].detach().exp()
        tuned = Predictor(old.mean, weights, prior, old.projection)
        return replace(layer, predictor=tuned)
