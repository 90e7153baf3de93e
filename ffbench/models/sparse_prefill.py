"""Run a model's prompts through block-sparse FFNs, by a plan, without changing the model."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.expert_plans import expert_plan_problems
from ffbench.methods.plan import SparsePlan
from ffbench.models.adapters import GatedFFN, experts_per_layer, gated_ffns
from ffbench.models.checks import check_ffns
from ffbench.models.down_rows import stored_by_neuron
from ffbench.models.fast_products import fast_products
from ffbench.models.forward import attribute
from ffbench.models.prefill_state import Prefill, real_tokens
from ffbench.models.sparse_experts import SparseExperts
from ffbench.models.sparse_ffn import SparseFFN

ACTIVE = "_ffbench_sparse_prefill"


@torch.no_grad()
def permute_neurons(ffn: GatedFFN, order: Tensor) -> None:
    """Reorder a layer's neurons in place; the dense function stays the same."""
    order = order.to(ffn.w_gate.device)
    ffn.w_gate.copy_(ffn.w_gate[order])
    ffn.w_up.copy_(ffn.w_up[order])
    ffn.w_down.copy_(ffn.w_down[:, order])


def counting_generate(generate: Callable[..., Any], prompt: Prefill) -> Callable[..., Any]:
    """`generate` that tells the prefill how long the prompt is, so that a prompt that comes in
    chunks keeps only its own ends dense.
    """

    def wrapped(inputs: Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
        ids = inputs if inputs is not None else kwargs.get("input_ids")
        prompt.prompt_tokens = None if ids is None or len(ids) > 1 else int(ids.shape[1])
        try:
            return generate(inputs, *args, **kwargs)
        finally:
            prompt.prompt_tokens = None

    return wrapped


def check_fit(ffns: list[GatedFFN], plan: SparsePlan) -> None:
    """Raise ValueError if the plan has other layers than the model, or settings that its experts
    cannot have.
    """
    experts = experts_per_layer(ffns)
    if experts != plan.experts:
        raise ValueError(
            f"sparse_prefill: the plan has {plan.experts} FFNs per layer, the model {experts}"
        )
    if experts > 1 and (problems := expert_plan_problems(plan.settings)):
        raise ValueError(f"sparse_prefill: a mixture of experts: {'; '.join(problems)}")
    sizes = [ffn.w_gate.shape[0] for ffn in ffns]
    if len(ffns) != len(plan.layers) or any(
        len(layer.order) != f for f, layer in zip(sizes, plan.layers, strict=True)
    ):
        raise ValueError(
            f"sparse_prefill: the plan has {len(plan.layers)} layers of "
            f"{len(plan.layers[0].order)} neurons, the model {len(ffns)} of {sizes[0]}"
        )


def sparse_forwards(ffns: list[SparseFFN], prompt: Prefill) -> Iterator[tuple[Any, Any]]:
    """Each module that computes FFNs, and the sparse forward in its place."""
    for module, group in groupby(ffns, key=lambda one: one.ffn.module):
        own = list(group)
        sparse = own[0] if own[0].ffn.expert is None else SparseExperts(own, prompt)
        yield module, sparse.forward


@contextmanager
def sparse_prefill(
    model: Any, plan: SparsePlan, backend: str = "auto", keep_storage: bool = False
) -> Iterator[Prefill]:
    """Prompts run sparse by `plan`, decoding stays dense; the model is as before afterwards.

    Works under model(...) and model.generate, with left or right padding and in chunks. Yields the
    counters and switches. On a card the down weights are stored by neuron inside (`down_rows`);
    keep_storage: another model uses their old storage meanwhile. On a CPU the rest of the model
    uses this machine's faster float32 product (`fast_products`). Raises RuntimeError when nested,
    ValueError if the plan does not fit the model, UnsupportedModelError if an FFN computes
    something else than its projections and activation, or if weights are offloaded.
    """
    if getattr(model, ACTIVE, False):
        raise RuntimeError(
            "sparse_prefill: already active on this model; leave the first one first"
        )
    ffns = gated_ffns(model)
    check_fit(ffns, plan)
    check_ffns(model, ffns)
    prompt = Prefill()

    def watch(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        prompt.real, prompt.offsets = (None, []) if prompt.paused else real_tokens(args, kwargs)

    with ExitStack() as stack:
        stack.enter_context(attribute(model, ACTIVE, True))
        stack.enter_context(fast_products(model))
        sparse = []
        for ffn, layer in zip(ffns, plan.layers, strict=True):
            if not torch.equal(layer.order, torch.arange(len(layer.order))):
                permute_neurons(ffn, layer.order)
                stack.callback(permute_neurons, ffn, layer.order.argsort())
            stack.enter_context(stored_by_neuron(ffn, keep_storage))
            sparse.append(SparseFFN(ffn, layer, plan, prompt, backend))
        for module, forward in sparse_forwards(sparse, prompt):
            stack.enter_context(attribute(module, "forward", forward))
        generate = counting_generate(model.generate, prompt)
        stack.enter_context(attribute(model, "generate", generate))
        stack.callback(model.model.register_forward_pre_hook(watch, with_kwargs=True).remove)
        yield prompt
