"""Run a model's prompts through block-sparse FFNs, by a plan, without changing the model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ffbench.methods.plan import SparsePlan
from ffbench.models.prefill_state import Prefill
from ffbench.models.sparse_model import SparseModel


@contextmanager
def sparse_prefill(
    model: Any, plan: SparsePlan, backend: str = "auto", keep_storage: bool = False
) -> Iterator[Prefill]:
    """Prompts run sparse by `plan`, decoding stays dense; the model is as before afterwards.

    Works under model(...) and model.generate, with left or right padding and in chunks. Yields the
    counters and switches. On a card the down weights are stored by neuron inside (`down_rows`);
    keep_storage: another model uses their old storage meanwhile. On a CPU the rest of the model
    uses this machine's faster float32 product (`fast_products`). To go in and out often, prepare
    the model once (`SparseModel`). Raises RuntimeError when nested, ValueError if the plan does not
    fit the model, UnsupportedModelError if an FFN computes something else than its projections and
    activation, or if weights are offloaded.
    """
    with SparseModel(model, plan, backend, keep_storage).entered() as prefill:
        yield prefill
