"""Plan settings of the tests: a trained selector with a small surrogate, the same number of neurons
in every layer."""

from typing import Any

from ffbench.methods.compensators.surrogate import Surrogate
from ffbench.methods.plan import PlanSettings
from ffbench.methods.schedulers.uniform import Uniform
from ffbench.methods.selectors.trained import Trained


def small_settings(block_size: int, **changes: Any) -> PlanSettings:
    """50% sparsity; a block at each end of a prompt is dense."""
    values = {
        "selector": Trained(),
        "compensator": Surrogate(rank=8),
        "scheduler": Uniform(),
        "block_size": block_size,
        "sparsity": 0.5,
        "first_dense": block_size,
        "last_dense": block_size,
    }
    return PlanSettings(**(values | changes))
