"""The fields of a result, with `score_fields`: the only list of their names, types and meanings.

`ffbench.experiment.pipeline` writes these fields; `ffanalysis` parses them as a `RunResult`.
docs/result-schema.md is printed from here. Standard library only. Older results are converted by
`ffbench.runs.legacy` first.
"""

from dataclasses import asdict, dataclass
from typing import Any

from ffbench.runs.records import about
from ffbench.runs.score_fields import GoldSummary, LossFields, TaskFields

SCHEMA_VERSION = 2
DENSE = "dense"
METHOD_KINDS = ("selector", "compensator", "scheduler")
TAILS = ("continuation", "copy", "question")
FORMER_METRIC, FORMER_WINDOWS = "output", 16  # of the objective, before they were settings


@dataclass(frozen=True, kw_only=True)
class TailFidelity:
    """Next-token distributions at dense tail positions after a sparse context, against dense."""

    n: int = about("windows, one per document and context")
    kl: float | None = about("KL(dense || sparse), nats per token", None)
    kl_low: float | None = about("95% bootstrap over documents within texts", None)
    kl_high: float | None = about("95% bootstrap over documents within texts", None)
    kl_worst: float | None = about("of the worst window", None)
    nll_dense: float | None = about("dense, nats per token", None)
    nll_increase: float | None = about("sparse - dense, nats per token", None)
    nll_increase_low: float | None = about("95% bootstrap over documents within texts", None)
    nll_increase_high: float | None = about("95% bootstrap over documents within texts", None)
    nll_increase_worst: float | None = about("of the worst window", None)
    top1_agreement: float | None = about("share of positions with the same first choice", None)


@dataclass(frozen=True, kw_only=True)
class PromptFidelity:
    """The same at the prompt's own tokens, dense ends included: a diagnostic, not the headline."""

    n: int = about("windows")
    kl: float | None = about("KL(dense || sparse), nats per token", None)
    kl_low: float | None = about("95% bootstrap over documents", None)
    kl_high: float | None = about("95% bootstrap over documents", None)
    top1_agreement: float | None = about("share of positions with the same first choice", None)
    ppl_ratio: float | None = about("perplexity, sparse / dense", None)
    ppl_dense: float | None = about("perplexity, dense", None)


@dataclass(frozen=True, kw_only=True)
class FidelityRow:
    """One held-out window with one tail. Runs are paired by text, document, context and tail."""

    text: str = about("kind of text")
    document: str = about("name of the document")
    context: int = about("tokens of the sparse context")
    tail: str = about("continuation, copy, question, or prompt: the prompt's own tokens")
    tokens: int = about("tail tokens")
    kl: float = about("KL(dense || sparse), nats per token")
    nll_dense: float | None = about("dense, nats per token", None)
    nll_sparse: float | None = about("sparse, nats per token", None)
    top1_agreement: float | None = about("share of positions with the same first choice", None)


@dataclass(frozen=True, kw_only=True)
class FidelityFields:
    """What a sparse context changes for the tokens after it, on text that no plan was made from."""

    part: str | None = about(
        "part of the embedded text: heldout or test; null in older results", None
    )
    contexts: list[int] = about("tokens of the sparse contexts", factory=list)
    tails: dict[str, TailFidelity] = about(
        "continuation (the text's own), copy (a passage of the context again) and question "
        "(embedded retrieval) -> all windows",
        factory=dict,
    )
    by_text: dict[str, dict[str, TailFidelity]] = about(
        "kind of text -> tail; the tail `prompt` only in converted results of schema 1",
        factory=dict,
    )
    by_context: dict[str, dict[str, TailFidelity]] = about(
        "context length, as text -> tail", factory=dict
    )
    prompt: PromptFidelity | None = about("the prompt's own tokens", None)
    density_used: float | None = about("FFN neurons computed in the prompts over dense", None)
    flops_used: float | None = about("FFN FLOPs of the whole prompt over dense, all included", None)
    rows: list[FidelityRow] = about("one per window and tail", factory=list)


@dataclass(frozen=True, kw_only=True)
class SpeedRatio:
    """Dense time over sparse time at one prompt length."""

    tokens: int = about("prompt length")
    ratio: float = about("dense time / sparse time, median")
    p20: float | None = about("of paired rounds; of several processes the lowest", None)
    p80: float | None = about("of paired rounds; of several processes the highest", None)
    dense_s: float | None = about("seconds, median", None)
    sparse_s: float | None = about("seconds, median", None)
    rounds: int | None = about("paired rounds per process", None)
    processes: int | None = about("fresh processes that were measured", None)
    own_dense_ratio: float | None = about(
        "time of our kernel with every neuron kept / sparse time; null if not measured", None
    )


@dataclass(frozen=True, kw_only=True)
class WideSpeed:
    """The run's methods at a published wide shape with random weights: time only, no accuracy."""

    shape: str = about("name of the shape")
    layers: int = about("layers that were timed")
    ffn: SpeedRatio | None = about("all FFNs inside a prefill", None)
    ttft: list[SpeedRatio] = about("time to the first token, by prompt length", factory=list)


@dataclass(frozen=True, kw_only=True)
class SpeedFields:
    """Speedups, selector and compensator included, and the machine that they were measured on."""

    ffn: SpeedRatio | None = about("all FFNs inside a prefill", None)
    ttft: list[SpeedRatio] = about("time to the first token, by prompt length", factory=list)
    threads: int | None = about("CPU threads", None)
    cpu: str | None = about("processor", None)
    instruction_set: str | None = about("of the kernels", None)
    backend: str | None = about("kernel that ran", None)
    load_before: float | None = about("load average before", None)
    load_after: float | None = about("load average after", None)
    busy: bool | None = about("other work ran on the machine: do not trust the times", None)
    clock_mhz: float | None = about("processor's clock right after, mean over its cores", None)
    wide: WideSpeed | None = about("at `speed.wide_shape`, with random weights", None)


@dataclass(frozen=True, kw_only=True)
class LayerFields:
    """One layer of the plan. Selection is measured on held-out text against the block oracle."""

    layer: int = about("from 0")
    kept: int | None = about("neurons per block", None)
    density: float | None = about("kept / all", None)
    recall_at_k: float | None = about("share of the block oracle's K neurons", None)
    retained_energy: float | None = about("over the oracle's", None)
    token_mixing: float | None = about("score; null unless the scheduler asks for it", None)


@dataclass(frozen=True, kw_only=True)
class FlopsFields:
    """FFN FLOPs of a sparse block over dense."""

    ratio: float | None = about("selector and compensator included", None)
    ideal: float | None = about("density alone", None)
    selector: float | None = about("share of dense", None)
    compensator: float | None = about("share of dense", None)


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Weights of the losses that a plan is fitted to."""

    continuation: float | None = about("tail that continues the text", None)
    copy: float | None = about("tail that copies a passage", None)
    full: float | None = about("the context's own positions", None)
    metric: str | None = about(
        "how errors of outputs count: auto, answer or output; null in older results, which had "
        f"{FORMER_METRIC}",
        None,
    )
    windows: int | None = about(
        "texts that the curvature was measured on; null in older results, which had "
        f"{FORMER_WINDOWS}",
        None,
    )


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """result.json. What was not measured is null; sparsity 0 has no plan, fidelity or speed."""

    schema_version: int = about("2; 1 in converted results, whose missing fields are null")
    run_key: str = about("16 hex digits: hash of everything that changes the result")
    model: str = about("name of the model config")
    dtype: str | None = about("of the weights: float32, bfloat16 or float16", None)
    device: str | None = about("cpu, or a card as torch names it, such as cuda:0", None)
    sparsity: float = about("share of neurons skipped in sparse blocks")
    task: str | None = about("name of the task group", None)
    protocol: str | None = about("whole or context: the part of a prompt that runs sparse", None)
    chat_template: str | None = about("first 16 hex digits of its SHA-256; null without one", None)
    dense_answers: str | None = about("folder under stages/answers; null without tasks", None)
    selector: str = about("name; dense at sparsity 0", DENSE)
    compensator: str = about("name; dense at sparsity 0", DENSE)
    scheduler: str = about("name; dense at sparsity 0", DENSE)
    parameters: dict[str, dict[str, Any]] = about(
        "selector, compensator and scheduler -> their parameters", factory=dict
    )
    block_size: int | None = about("tokens", None)
    group_size: int | None = about("neighbouring neurons kept or skipped together", None)
    blocks: str | None = about("consecutive, similar or sorted: which tokens share a block", None)
    hot_fraction: float | None = about("share of kept neurons that every block keeps", None)
    calibration_text: str | None = about(
        "embedded, or 16 hex digits that name the user's own text", None
    )
    seed: int | None = about("of everything random", None)
    objective: Objective | None = about("what the plan is fitted to", None)
    fidelity: FidelityFields | None = about("against dense, on held-out text", None)
    speed: SpeedFields | None = about("against dense", None)
    speed_reason: str | None = about("why speed is null, for a rule that works per token", None)
    recall_at_k: float | None = about("of the block oracle's neurons, mean over layers", None)
    retained_energy: float | None = about("over the oracle's, mean over layers", None)
    layers: list[LayerFields] | None = about("of the plan", None)
    flops: FlopsFields | None = about("of a sparse block", None)
    data: str | None = about("benchmarks whose records were scored; null for other tasks", None)
    tasks: dict[str, TaskFields] = about("by task name", factory=dict)
    categories: dict[str, LossFields | None] | None = about("means of headline tasks", None)
    buckets: dict[str, LossFields | None] | None = about(
        "LongBench-E only: length in words -> means of headline tasks", None
    )
    mean: LossFields | None = about("mean of the headline tasks", None)
    category_mean: LossFields | None = about("mean of the categories, as LongBench's own", None)
    gold: GoldSummary | None = about("likelihood of the gold answers", None)
    at_chance: list[str] | None = about(
        "tasks outside the means: the dense score is at or below chance", None
    )
    scorer_failures: int | None = about("of all tasks", None)
    density_used: float | None = about("of the fidelity prompts, over dense", None)
    cost: dict[str, float | None] = about(
        "stage -> seconds; a cached stage keeps the seconds of the run that made it", factory=dict
    )

    def to_json(self) -> dict[str, Any]:
        """The content of result.json."""
        return asdict(self)

    @property
    def dense(self) -> bool:
        """True at sparsity 0."""
        return not self.sparsity


@dataclass(frozen=True, kw_only=True)
class AnswerRecord:
    """One line of answers.jsonl."""

    task: str = about("name of the task")
    record_id: str = about("of the record")
    prediction: str | None = about("the answer", None)
    gold: str | None = about("the gold answer whose likelihood is measured", None)
    prompt_tail: str | None = about("the last 600 characters of the prompt", None)
    score: float | None = about("points, as the task's metric has it", None)
    score_error: str | None = about("why the scorer failed; the score is 0 then", None)
    nll: float | None = about("gold answer, nats per token", None)
    prompt_tokens: int | None = about("tokens", None)
    tokens_cut: int | None = about("tokens removed from the middle of the prompt", None)
    length: int | None = about("words, as the record states it", None)
    density: float | None = about("FFN neurons computed in the prompt over dense", None)
    seconds: float | None = about("for this record", None)
