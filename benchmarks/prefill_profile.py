"""Where a prefill's time goes: FFNs, attention's projections, attention itself, norms and the rest.

python benchmarks/prefill_profile.py plan=outputs/runs/KEY/plan

Three arms in turn on the same prompt of held-out text: the model as it is, our kernels and products
with every neuron kept, and the plan. One line per arm in --out; docs/measuring.md shows them. For
CPUs: on a card a module's end is not the end of its work.
"""

import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from bench_lines import append, arguments_of, conditions, count, settings_parser, single_job

from ffbench.cli.errors import guarded
from ffbench.evaluation.speed import always_dense, twin_of
from ffbench.experiment import identity
from ffbench.experiment.calibration import heldout_windows
from ffbench.methods.plan import SparsePlan
from ffbench.models.adapters import decoder_layers
from ffbench.models.loading import load_model
from ffbench.models.sparse_prefill import sparse_prefill
from ffkernels.host_memory import keep_freed_memory

SCRIPT = "prefill_profile.py"
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "qkv_proj", "o_proj")
OUTER = "attention with projections"


class ModuleClock:
    """Seconds of each kind of module during a forward pass, by hooks."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.started: list[float] = []

    def watch(self, module: Any, name: str) -> list[Any]:
        """Hooks that add a module's time to `name`."""

        def start(*_: Any) -> None:
            self.started.append(time.perf_counter())

        def stop(*_: Any) -> None:
            spent = time.perf_counter() - self.started.pop()
            self.seconds[name] = self.seconds.get(name, 0.0) + spent

        return [module.register_forward_pre_hook(start), module.register_forward_hook(stop)]


@contextmanager
def watched(model: Any) -> Iterator[ModuleClock]:
    """A clock over the modules of every layer."""
    clock, hooks = ModuleClock(), []
    for layer in decoder_layers(model):
        hooks += clock.watch(layer.mlp, "FFN")
        hooks += clock.watch(layer.self_attn, OUTER)
        for name, module in layer.self_attn.named_children():
            if name in PROJECTIONS:
                hooks += clock.watch(module, "projections")
        for name, module in layer.named_children():
            if "norm" in name:
                hooks += clock.watch(module, "norms")
    hooks += clock.watch(model.lm_head, "output head")
    try:
        yield clock
    finally:
        for hook in hooks:
            hook.remove()


def parts_of(clock: ModuleClock, total: float) -> dict[str, float]:
    """Seconds that add up to `total`."""
    parts = dict(clock.seconds)
    outer = parts.pop(OUTER)
    parts["attention and rotary embedding"] = outer - parts["projections"]
    parts["the rest"] = total - sum(parts.values())
    return parts


@torch.no_grad()
def profile(arms: dict[str, Any], ids: torch.Tensor, rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds of each part by arm; the arms take turns, a warm-up first."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
    for number in range(rounds + 1):
        for name, model in arms.items():
            with watched(model) as clock:
                start = time.perf_counter()
                model(ids, use_cache=True, logits_to_keep=1)
                total = time.perf_counter() - start
            if number:
                found[name].append(parts_of(clock, total) | {"total": total})
    return {
        name: {part: statistics.median(one[part] for one in rows) for part in rows[0]}
        for name, rows in found.items()
    }


def measured(plan: SparsePlan, settings: Any, tokens: int, rounds: int) -> dict[str, Any]:
    """`profile` of the three arms on one model."""
    keep_freed_memory()
    model, tokenizer = load_model(identity.model_spec(settings))
    ids = heldout_windows(tokenizer, tokens, tokens)["prose"][:1]
    sparse = twin_of(model, own_storage=True)
    own = twin_of(sparse)
    with ExitStack() as stack:
        plan = replace(plan, min_tokens=0)
        stack.enter_context(sparse_prefill(sparse, plan, keep_storage=True))
        stack.enter_context(sparse_prefill(own, always_dense(plan))).short_reported = True
        return profile({"dense": model, "own_dense": own, "sparse": sparse}, ids, rounds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and append; 2 for bad input."""
    words = arguments_of(arguments)
    parser = settings_parser(__doc__, "benchmarks/results/prefill_profile.jsonl")
    parser.add_argument("--tokens", type=count, default=2048)
    parser.add_argument("--rounds", type=count, default=7)
    options = parser.parse_args(words)
    given = [text for text in options.settings if text.startswith("plan=")]
    if len(given) != 1:
        parser.error("give one plan=FOLDER, as `python -m ffbench plan save` or a run writes it")
    settings = single_job([text for text in options.settings if text not in given]).settings
    folder = Path(given[0].partition("=")[2]).expanduser()
    plan = SparsePlan.load(folder, identity.fingerprint(settings))
    for arm, parts in measured(plan, settings, options.tokens, options.rounds).items():
        line = {"arm": arm, "sparsity": plan.settings.sparsity, "tokens": options.tokens}
        line |= {"rounds": options.rounds, "model": settings.model.name, "seconds": parts}
        append(options.out, line | conditions(SCRIPT, words))
        print(f"{arm}: " + ", ".join(f"{name} {value:.3f} s" for name, value in parts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
