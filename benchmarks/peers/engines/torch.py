"""The model in torch: eager, compiled, our kernels with every neuron kept, or sparse by a plan."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

_open = ExitStack()  # a plan stays set up until the process ends


def load(request: dict[str, Any]) -> tuple[Callable[[list[int]], int], dict[str, Any]]:
    """`request["mode"]` is eager, compile, own_dense or sparse."""
    import torch

    from ffbench.evaluation.speed import always_dense
    from ffbench.methods.plan import SparsePlan
    from ffbench.models.kernel_names import kernel_name
    from ffbench.models.loading import ModelSpec, load_model
    from ffbench.models.sparse_prefill import sparse_prefill
    from ffkernels.host_memory import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(request["threads"])
    model, _ = load_model(ModelSpec(**request["model"]))
    forward, facts = model, {"runtime": "torch", "version": torch.__version__}
    if request["mode"] == "compile":
        forward = torch.compile(model, dynamic=False)
    elif request["mode"] in ("own_dense", "sparse"):
        plan = SparsePlan.load(request["plan"])
        plan = always_dense(plan) if request["mode"] == "own_dense" else replace(plan, min_tokens=0)
        prefill = _open.enter_context(sparse_prefill(model, plan, request["backend"]))
        prefill.short_reported = True  # a dense arm is dense on purpose
        weight = model.get_input_embeddings().weight
        facts["backend"] = kernel_name(request["backend"], weight)
    facts["instructions"] = torch.backends.cpu.get_cpu_capability()

    @torch.no_grad()
    def next_token(ids: list[int]) -> int:
        output = forward(torch.tensor([ids]), use_cache=True, logits_to_keep=1)
        return int(output.logits[0, -1].argmax())

    return next_token, facts
