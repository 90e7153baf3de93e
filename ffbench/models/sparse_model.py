"""A model with its plan, prepared once and entered as often as one likes."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby, zip_longest
from typing import Any

import torch
from torch import Tensor

from ffbench.methods.expert_plans import expert_plan_problems
from ffbench.methods.plan import SparsePlan
from ffbench.methods.token_rules import TokenRule
from ffbench.models.adapters import GatedFFN, gated_ffns
from ffbench.models.checks import check_ffns
from ffbench.models.down_rows import stored_by_neuron
from ffbench.models.fast_products import fast_products
from ffbench.models.forward import attribute
from ffbench.models.int8_ffn import Int8FFN
from ffbench.models.kernel_names import INT8, int8_refusal
from ffbench.models.prefill_state import Prefill, real_tokens
from ffbench.models.sparse_experts import SparseExperts
from ffbench.models.sparse_ffn import SparseFFN

ACTIVE = "_ffbench_sparse_prefill"
logger = logging.getLogger(__name__)


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
    """Raise ValueError if the plan has other FFNs than the model, or settings that its experts
    cannot have.
    """
    entries = zip(plan.places, plan.layers, strict=True)
    planned = [f"{place.text()} of {len(layer.order)} neurons" for place, layer in entries]
    there = [f"{ffn.name} of {len(ffn.w_gate)} neurons" for ffn in ffns]
    for number, (ours, theirs) in enumerate(zip_longest(planned, there, fillvalue="missing")):
        if ours != theirs:
            raise ValueError(
                f"sparse_prefill: FFN {number} of the plan is {ours}, of the model {theirs}; use a "
                "plan that was made for this model"
            )
    if plan.mixture and (problems := expert_plan_problems(plan.settings)):
        raise ValueError(f"sparse_prefill: a mixture of experts: {'; '.join(problems)}")


def check_kernel(backend: str, ffn: GatedFFN, plan: SparsePlan) -> None:
    """Raise ValueError if int8 weights cannot be used for this plan here."""
    if backend != INT8:
        return
    reason = int8_refusal(ffn.w_gate)
    if isinstance(plan.settings.selector, TokenRule):
        reason = "token rules are computed with the model's own weights"
    if reason:
        raise ValueError(f"sparse_prefill: backend {INT8!r} cannot run this plan here: {reason}")


def sparse_forwards(ffns: list[SparseFFN], prompt: Prefill) -> Iterator[tuple[Any, Any]]:
    """Each module that computes FFNs, and the sparse forward in its place."""
    for module, group in groupby(ffns, key=lambda one: one.ffn.module):
        own = list(group)
        sparse = own[0] if own[0].ffn.expert is None else SparseExperts(own, prompt)
        yield module, sparse.forward


def refuse_active(model: Any) -> None:
    """Raise RuntimeError if the model runs sparse at present."""
    if getattr(model, ACTIVE, False):
        raise RuntimeError(
            "sparse_prefill: already active on this model; leave the first one first"
        )


def version(ffn: GatedFFN) -> tuple[object, ...]:
    """Where an FFN's weights are and how often they were written to; never twice the same for
    weights that do not tell (made in inference mode).
    """
    weights = (ffn.w_gate, ffn.w_up, ffn.w_down)
    try:
        return tuple(number for w in weights for number in (w.data_ptr(), w._version))
    except RuntimeError:
        return (object(),)


class SparseModel:
    """A model whose prompts run sparse by a plan inside `with sparse_model.entered() as prefill`.

    The first entry makes what the layers need: the plan on the model's device, down rows, sums over
    them. Later ones only put it in place, so going back and forth between dense and sparse is
    cheap. What was made stays in memory between entries, except for the down rows on a card, which
    are views of the weights. If a layer's weights have changed since, its part is made again;
    writes through `weight.data`, as some tools merge adapters, leave no trace and need a new
    SparseModel.

    keep_storage: as for `sparse_prefill`, which is this class entered once. Raises what that does.
    """

    def __init__(
        self, model: Any, plan: SparsePlan, backend: str = "auto", keep_storage: bool = False
    ) -> None:
        refuse_active(model)
        self.model, self.plan, self.backend = model, plan, backend
        self.keep_storage = keep_storage
        ffns = gated_ffns(model)
        check_fit(ffns, plan)
        check_ffns(model, ffns)
        check_kernel(backend, ffns[0], plan)
        self.prepared: dict[int, SparseFFN] = {}
        self.versions: dict[int, tuple[object, ...]] = {}
        self.current: Prefill | None = None  # while entered
        self.waits_reported = False

    @contextmanager
    def ffn_entered(self, number: int, ffn: GatedFFN, prompt: Prefill) -> Iterator[SparseFFN]:
        """The FFN of this number ready to run sparse inside, counted by `prompt`; its weights are
        as before afterwards.
        """
        plan = self.plan.layers[number]
        if self.versions.get(number) != version(ffn):
            self.prepared.pop(number, None)
        with ExitStack() as stack:
            stack.callback(lambda: self.versions.update({number: version(ffn)}))
            if not torch.equal(plan.order, torch.arange(len(plan.order))):
                permute_neurons(ffn, plan.order)
                stack.callback(permute_neurons, ffn, plan.order.argsort())
            stack.enter_context(stored_by_neuron(ffn, self.keep_storage))
            if number not in self.prepared:
                kind = Int8FFN if self.backend == INT8 else SparseFFN
                self.prepared[number] = kind(ffn, plan, self.plan, prompt, self.backend)
            sparse = self.prepared[number]
            sparse.enter(prompt)
            stack.callback(sparse.leave)
            yield sparse

    @contextmanager
    def entered(self) -> Iterator[Prefill]:
        """Prompts run sparse inside; yields the counters and switches of this entry. Raises
        RuntimeError if the model is entered already.
        """
        refuse_active(self.model)
        prompt = Prefill()

        def watch(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            paused = prompt.paused
            prompt.real, prompt.offsets = (
                (None, []) if paused else real_tokens(args, kwargs, prompt.cached)
            )

        with ExitStack() as stack:
            stack.enter_context(attribute(self.model, ACTIVE, True))
            stack.enter_context(fast_products(self.model))
            sparse = [
                stack.enter_context(self.ffn_entered(number, ffn, prompt))
                for number, ffn in enumerate(gated_ffns(self.model))
            ]
            for module, forward in sparse_forwards(sparse, prompt):
                stack.enter_context(attribute(module, "forward", forward))
            generate = counting_generate(self.model.generate, prompt)
            stack.enter_context(attribute(self.model, "generate", generate))
            hook = self.model.model.register_forward_pre_hook(watch, with_kwargs=True)
            stack.callback(hook.remove)
            self.report_waits()
            self.current = prompt
            stack.callback(setattr, self, "current", None)
            yield prompt

    def report_waits(self) -> None:
        """Say once per model if its FFNs make the host wait for a card."""
        waits = next((ffn.waits for ffn in self.prepared.values() if ffn.waits), None)
        if waits and not self.waits_reported:
            self.waits_reported = True
            logger.warning("prefill makes the host wait for the card in every layer: %s", waits)
