"""Time of dense against sparse prefill in one process: the FFNs alone, and the time to the first
token.
"""

import copy
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ffbench.evaluation.baselines import baselines, compiled
from ffbench.evaluation.stopwatch import Stopwatch
from ffbench.methods.plan import SparsePlan, untimed
from ffbench.models.adapters import gated_ffns
from ffbench.models.final_layer import final_layer_rule
from ffbench.models.sparse_prefill import sparse_prefill
from ffkernels.bench import timing

ARMS = ("dense", "own_dense", "sparse")
FINAL_ARMS = ("final_dense", "final_sparse")  # the first and the last by the final-layer rule
COMPILED = "compiled"  # the dense model by torch.compile
# Of a prompt that warms a processor up: threads, caches and the memory of activations. On two AVX2
# cores the first timed round after it was slower than the next ones by 2 to 7%, in every arm alike,
# just as after a whole prompt of 2,048.
WARM_UP_TOKENS = 512
NEVER = 1 << 60  # tokens: a plan that pays off from here on runs every prompt dense


@dataclass
class PrefillTimes:
    """Seconds of each round: whole prefills (to the logits of the last token), and their FFNs
    alone.

    Arms: `dense`, the model as it is; `own_dense`, the plan's FFNs with every neuron kept;
    `sparse`; if they were asked for, FINAL_ARMS and COMPILED too (whose FFNs are not timed: looking
    at them would change what is compiled); on a card one for each of `evaluation.baselines`.
    peak_bytes: most memory of the card during a prefill of each arm,
    weights and the other arms' copies included; empty on a CPU.
    """

    tokens: int
    prefill: dict[str, list[float]] = field(default_factory=lambda: {arm: [] for arm in ARMS})
    ffn: dict[str, list[float]] = field(default_factory=lambda: {arm: [] for arm in ARMS})
    peak_bytes: dict[str, int] = field(default_factory=dict)

    def baseline_metrics(self) -> dict[str, dict[str, float]]:
        """By baseline: its median seconds, and the median of its rounds' ratios to sparse."""
        return {
            name: {
                "seconds": statistics.median(seconds),
                "ratio": timing.ratios(seconds, self.prefill["sparse"])[0],
            }
            for name, seconds in self.prefill.items()
            if name not in (*ARMS, *FINAL_ARMS)
        }

    def metrics(self, part: dict[str, list[float]]) -> dict[str, Any]:
        """Speed fields of a result: medians, and the median of the rounds' ratios."""
        ratio, p20, p80 = timing.ratios(part["dense"], part["sparse"])
        return {
            "tokens": self.tokens,
            "ratio": ratio,
            "p20": p20,
            "p80": p80,
            "dense_s": statistics.median(part["dense"]),
            "sparse_s": statistics.median(part["sparse"]),
            "rounds": len(part["dense"]),
            "processes": 1,
            "own_dense_ratio": timing.ratios(part["own_dense"], part["sparse"])[0],
        }

    def final_layer(self) -> dict[str, Any] | None:
        """Seconds of both final-layer arms, their ratio, and that of dense to sparse with the rule
        on the sparse side alone; None if they were not timed.
        """
        part = self.prefill
        if FINAL_ARMS[0] not in part:
            return None
        dense, sparse = (part[arm] for arm in FINAL_ARMS)
        return {
            "tokens": self.tokens,
            "dense_s": statistics.median(dense),
            "sparse_s": statistics.median(sparse),
            "ratio": timing.ratios(dense, sparse)[0],
            "over_whole_dense": timing.ratios(part["dense"], sparse)[0],
        }


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """Use `threads` threads of torch inside, the former number afterwards; ValueError below 1."""
    if threads < 1:
        raise ValueError(f"threads: expected at least 1, received {threads}")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def twin_of(model: Any, own_storage: bool = False) -> Any:
    """A second model object on the same weights, so that one can run sparse while the other stays
    dense.

    own_storage: the twin may change how its down weights are stored (`models.down_rows`) without
    changing what the other one is timed with; they are parameters of their own.
    """
    shared: dict[int, Any] = {id(one): one for one in (*model.parameters(), *model.buffers())}
    for ffn in gated_ffns(model) if own_storage else []:
        shared[id(ffn.w_down)] = torch.nn.Parameter(ffn.w_down.data, requires_grad=False)
    return copy.deepcopy(model, shared)


def prompt_ids(model: Any, ids: Tensor | None, tokens: int) -> Tensor:
    """Ids [1, tokens] of one prompt: the beginning of `ids` [n], or random ones without them.

    Raises ValueError if `ids` is shorter than the prompt or the prompt is empty.
    """
    if tokens < 1:
        raise ValueError(f"tokens: expected at least 1, received {tokens}")
    if ids is None:
        ids = torch.randint(
            model.config.vocab_size, (tokens,), generator=torch.Generator().manual_seed(0)
        )
    if ids.dim() != 1 or len(ids) < tokens:
        raise ValueError(
            f"ids: expected {tokens} or more token ids in one dimension, got {list(ids.shape)}"
        )
    return ids[:tokens].unsqueeze(0).to(model.device)


def always_dense(plan: SparsePlan) -> SparsePlan:
    """The plan with every prompt dense and no neuron moved: twins share the weights, and only one
    of them may reorder them. Its predictors are empty: none is asked.
    """
    layers = [
        replace(
            one,
            order=torch.arange(len(one.order)),
            hot=0,
            predictor=replace(
                one.predictor,
                weights=one.predictor.weights[:, :0],
                projection=one.predictor.mean.new_zeros(0, len(one.predictor.mean)),
            ),
        )
        for one in plan.layers
    ]
    return replace(plan, layers=layers, min_tokens=NEVER)


def warm_up(call: partial[Any], arm: str, prompt: Tensor) -> Callable[[], Any]:
    """The untimed call before the rounds of an arm: the first tokens of the prompt are enough for a
    processor. A card counts its memory meanwhile, and what is compiled is compiled for one length.
    """
    if prompt.device.type != "cpu" or arm == COMPILED:
        return call
    return partial(call.func, prompt[:, :WARM_UP_TOKENS], **call.keywords)


@contextmanager
def arms_of(
    model: Any,
    plan: SparsePlan,
    backend: str,
    on_card: bool,
    final_layer: bool,
    compile_dense: bool,
) -> Iterator[dict[str, Any]]:
    """A model for each arm that `prefill_times` compares, by name; the sparse ones are entered."""
    sparse = twin_of(model, own_storage=True)
    own = twin_of(sparse)
    with (
        sparse_prefill(sparse, replace(plan, min_tokens=0), backend, keep_storage=True),
        sparse_prefill(own, always_dense(plan), backend) as own_prefill,
        ExitStack() as stack,
    ):
        own_prefill.short_reported = True  # this arm is dense on purpose
        arms = dict(zip(ARMS, (model, own, sparse), strict=True))
        if final_layer:
            arms |= dict(zip(FINAL_ARMS, (model, sparse), strict=True))
        changes = baselines(model) if on_card else {}
        for name, changed in (changes | ({COMPILED: compiled} if compile_dense else {})).items():
            arms[name] = twin_of(model)
            stack.enter_context(changed(arms[name]))
        yield arms


def timed_rounds(
    arms: dict[str, Any], prompt: Tensor, rounds: int, watch: Stopwatch
) -> PrefillTimes:
    """Times of every arm in turn on one prompt ids [1, tokens], after a `warm_up` of each."""
    times = PrefillTimes(prompt.shape[1], {arm: [] for arm in arms}, {arm: [] for arm in arms})
    for number in range(rounds + 1):
        for name, twin in arms.items():
            call = partial(twin, prompt, use_cache=True, logits_to_keep=1)
            with final_layer_rule(twin) if name in FINAL_ARMS else nullcontext():
                if number and name == COMPILED:
                    times.prefill[name].append(watch.seconds(call))
                elif number:
                    whole, ffn = watch.round(twin, call)
                    times.prefill[name].append(whole)
                    times.ffn[name].append(ffn)
                elif (peak := watch.warm_up(warm_up(call, name, prompt))) is not None:
                    times.peak_bytes[name] = peak
    return times


@torch.no_grad()
def prefill_times(
    model: Any,
    plan: SparsePlan,
    lengths: list[int],
    rounds: int,
    threads: int,
    backend: str,
    ids: Tensor | None = None,
    final_layer: bool = False,
    compile_dense: bool = False,
) -> list[PrefillTimes]:
    """Time the three arms in turn on the same ids, a `warm_up` of each first, for each length; with
    `final_layer` also FINAL_ARMS, which follow the final-layer rule; with `compile_dense` COMPILED.

    A prefill fills a fresh key-value cache and computes the logits of the last token only. Setting
    the plan up happens once and is not timed; the plan's own min_tokens does not count here. Raises
    ValueError for lengths, rounds or threads below 1, and for token rules.
    """
    reason = untimed(plan.settings)
    if reason:
        raise ValueError(f"speed: {reason}")
    if rounds < 1:
        raise ValueError(f"rounds: expected at least 1, received {rounds}")
    prompts = [prompt_ids(model, ids, length) for length in lengths]
    watch = Stopwatch(threads, model.device)
    with (
        thread_count(threads),
        arms_of(model, plan, backend, watch.on_card, final_layer, compile_dense) as arms,
    ):
        return [timed_rounds(arms, prompt, rounds, watch) for prompt in prompts]


def break_even(rows: list[dict[str, Any]]) -> int | None:
    """Shortest measured length from which sparse prefill is never slower at any longer one; None
    if it is slower at the longest. `rows` are the metrics of one plan at several lengths.
    """
    shortest = None
    for row in sorted(rows, key=lambda row: row["tokens"], reverse=True):
        if row["ratio"] < 1:
            break
        shortest = row["tokens"]
    return shortest
