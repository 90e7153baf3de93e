"""vLLM's model classes with MLPs that run a plan, for the processes that hold the weights."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from ffbench.integrations.vllm.batch import CurrentBatch
from ffbench.integrations.vllm.layer import BatchFFN
from ffbench.integrations.vllm.mlp import PlanMLP, register_operator
from ffbench.integrations.vllm.weights import keep_unpacked
from ffbench.models.adapters import ACTIVATIONS, activation_name


def install(model: Any, batch: CurrentBatch, backend: str, contexts: dict[str, Any]) -> None:
    """Let every MLP of a loaded model run the plan; weights change their order layer by layer.

    contexts: vLLM's table of the layers that its operators find by name.
    """
    from vllm.distributed import get_tensor_model_parallel_world_size

    register_operator()
    activation = ACTIVATIONS[str(activation_name(model.config))]
    ranks = get_tensor_model_parallel_world_size()
    for index, layer in enumerate(model.model.layers):
        keep_unpacked(layer.mlp)
        ffn = BatchFFN(
            index=index,
            mlp=layer.mlp,
            activation=activation,
            plan=batch.plan,
            prefill=batch.prefill,
            backend=backend,
        )
        name = f"model.layers.{index}.mlp"
        layer.mlp = contexts[name] = PlanMLP(name, ffn, batch, ranks)


def with_plan(model_class: Any, batch: CurrentBatch, backend: str, contexts: dict[str, Any]) -> Any:
    """A subclass of a vLLM model class that replaces its MLPs when its weights are there.

    That is before vLLM packs the weights for a CPU, which removes the rows that the kernels read.
    """

    def load_weights(self: Any, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        loaded = model_class.load_weights(self, weights)
        install(self, batch, backend, contexts)
        return loaded  # type: ignore[no-any-return]

    return type(model_class.__name__, (model_class,), {"load_weights": load_weights})


@contextmanager
def planned_model(
    architecture: str, batch: CurrentBatch, backend: str, contexts: dict[str, Any]
) -> Iterator[None]:
    """Inside, vLLM builds an architecture with MLPs that run the plan of `batch`."""
    from vllm import ModelRegistry
    from vllm.model_executor.model_loader import utils

    # classes that vLLM looked up earlier in this process; later models need their own again
    found: dict[int, Any] = getattr(utils, "_MODEL_ARCH_BY_HASH", {})
    found.clear()
    before = ModelRegistry.models[architecture]
    planned = with_plan(before.load_model_cls(), batch, backend, contexts)
    ModelRegistry.register_model(architecture, planned)
    try:
        yield
    finally:
        ModelRegistry.models[architecture] = before
        found.clear()
