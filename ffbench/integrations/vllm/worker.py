"""vLLM's worker with a model that runs a plan; `ffbench.integrations.vllm.start` chooses it."""

import logging
from pathlib import Path
from typing import Any

from vllm.platforms import current_platform
from vllm.utils.import_utils import resolve_obj_by_qualname

from ffbench.integrations.vllm.batch import CurrentBatch
from ffbench.integrations.vllm.metrics import CountsFile, counts_of_server
from ffbench.integrations.vllm.mlp import PlanMLP
from ffbench.integrations.vllm.models import planned_model
from ffbench.integrations.vllm.refusals import KERNELS, options_of
from ffbench.integrations.vllm.shards import rank_plan
from ffbench.methods.plan import SparsePlan

BASES = {
    "cpu": "vllm.v1.worker.cpu_worker.CPUWorker",
    "cuda": "vllm.v1.worker.gpu_worker.Worker",
}
Base: Any = resolve_obj_by_qualname(BASES[current_platform.device_type])
logger = logging.getLogger("vllm.ffbench")


class PlanWorker(Base):  # type: ignore[misc]
    """The platform's worker; it loads the model with the plan and publishes the density."""

    batch: CurrentBatch
    counts: CountsFile | None = None

    def load_model(self, **arguments: Any) -> None:
        """Load the model with the rank's part of the plan.

        Raises RuntimeError if a layer would run without it.
        """
        config = self.vllm_config
        options, problems = options_of(config.additional_config)
        if options is None:
            raise RuntimeError("; ".join(problems))
        parallel = config.parallel_config
        rank = parallel.rank % parallel.tensor_parallel_size
        plan = SparsePlan.load(Path(options.plan))
        batch = self.batch = CurrentBatch(
            rank_plan(plan, rank, parallel.tensor_parallel_size), self.model_runner, rank
        )
        self.counts = counts_of_server(rank)
        kernel = KERNELS[current_platform.device_type]
        kernel = kernel if options.kernel == "auto" else options.kernel
        contexts = config.compilation_config.static_forward_context
        with planned_model(config.model_config.architecture, batch, kernel, contexts):
            super().load_model(**arguments)
        layers = self.model_runner.get_model().model.layers
        if not all(isinstance(layer.mlp, PlanMLP) for layer in layers):
            raise RuntimeError("ffbench_plan: the model was loaded without the plan's FFNs")
        logger.info("ffbench: %d FFNs run by the plan, kernel %s", len(layers), kernel)

    def execute_model(self, *arguments: Any, **options: Any) -> Any:
        """Run one pass; afterwards the density is what its prompts had."""
        output = super().execute_model(*arguments, **options)
        if self.counts is not None:
            self.batch.publish(self.counts)
        return output
