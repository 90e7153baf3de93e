"""Names and axes of what calibration text says about a layer, besides the fits."""

from ffbench.methods.tensors import NEURON, Axes
from ffbench.methods.token_scale import SCALE_AXES

# importance: what a neuron's output counts for the answer, over its size (mean one); only if the
# objective's metric is `answer`. mean, second: E a_j and E a_j^2; up_second: E (Wu_j x)^2; the
# others: quantiles, in even steps, of |x|, |act(gate)| and |a| over sampled tokens
STATISTIC_AXES: Axes = {
    "mean": (NEURON,),
    "second": (NEURON,),
    "up_second": (NEURON,),
    "importance": (NEURON,),
    "input_levels": ("quantile",),
    "gate_levels": ("quantile",),
    "activation_levels": ("quantile",),
    # of the regression of a token's residual energy; only with a compensator that has features
    **SCALE_AXES,
}
